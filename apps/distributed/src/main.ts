import { readFileSync } from 'node:fs';
import { runUntilSignal } from '@sluice/shared/lifecycle';
import { componentNames, startComponent } from './start.ts';

const [name = '', ...more] = process.argv.slice(2);
const known = componentNames.find((one) => one === name);

if (known === undefined || more.length > 0) {
  process.stdout.write(
    `Usage: sluice-component ${componentNames.join('|')}\n\nRuns one component of Sluice as a process of its own. Variables set it; docs/deploy.md lists them.\n`,
  );
  process.exitCode = name === '--help' ? 0 : 2;
} else {
  await runUntilSignal(() =>
    startComponent(known, {
      env: process.env,
      readFile: (path) => readFileSync(path, 'utf8'),
    }),
  );
}
