import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@sluice/shared/lifecycle';
import { createChildProcessScripts } from '../../src/adapters/index.ts';

// A server whose script runs for a minute; its test kills it.
const dir = process.argv[2] ?? '';
const scriptPath = join(dir, 'script.sh');
writeFileSync(
  scriptPath,
  "trap '' TERM; (trap '' TERM; sleep 60) & echo $! > child; echo $$ > shell; sleep 60; sleep 60\n",
);
await createChildProcessScripts({ clock: systemClock, pipeDir: join(dir, 'pipes') }).run({
  scriptPath,
  cwd: dir,
  env: { PATH: process.env['PATH'] ?? '' },
  timeoutMs: 60_000,
  signal: new AbortController().signal,
  onStarted: () => undefined,
  onOutput: async () => undefined,
});
