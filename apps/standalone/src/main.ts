import { readFileSync } from 'node:fs';
import { runUntilSignal } from '@sluice/shared/lifecycle';
import { startStandalone } from './start.ts';

await runUntilSignal(() =>
  startStandalone({
    env: process.env,
    readFile: (path) => readFileSync(path, 'utf8'),
    print: (text) => process.stdout.write(text),
  }),
);
