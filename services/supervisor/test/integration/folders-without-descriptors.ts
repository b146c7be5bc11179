// Run under a small `ulimit -n`: a run, a call's folder and a runner end while there is no descriptor left. Prints what is left of their folders
// at that moment, and the log's lines once all of it is gone.
import { closeSync, existsSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@sluice/shared/lifecycle';
import { createLogger } from '@sluice/shared/telemetry';
import { createCallFolders } from '../../src/files/call-folders.ts';
import { createFolderRemover } from '../../src/files/folder-remover.ts';
import { createSupervisor, type ScriptRunner } from '../../src/index.ts';
import { createMemoryStore } from './memory-store.ts';

const [dir = '', plan = ''] = process.argv.slice(2);
const lines: { msg: string; tries?: number }[] = [];
const log = createLogger({
  name: 'test',
  level: 'info',
  destination: { write: (line) => lines.push(JSON.parse(line)) },
});
const taken: number[] = [];
const takeAll = (): void => {
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'));
  } catch {
    // As many as there are.
  }
};
const scripts: ScriptRunner = {
  run: async ({ cwd }) => {
    writeFileSync(join(cwd, 'output/result'), 'x');
    takeAll();
    return { kind: 'exited', exitCode: 0 };
  },
};
const supervisor = createSupervisor({
  objects: createMemoryStore(),
  scripts,
  clock: systemClock,
  log,
  instance: 'test',
  hostName: 'test',
  baseEnv: {},
  scriptCacheDir: join(dir, 'scripts'),
});
const work = join(dir, 'work');
const calls = createCallFolders({
  dir: join(work, 'runner'),
  clock: systemClock,
  remover: createFolderRemover({ clock: systemClock, log }),
});
const call = await calls.take();
writeFileSync(join(call.output, 'result'), 'x');
const outcome = await supervisor.perform(JSON.parse(plan), {
  workDir: join(work, 'run'),
  output: { write: async () => undefined },
  report: async () => undefined,
  signal: new AbortController().signal,
});
calls.giveBack(call);
await calls.close();
const left = ['run/output/result', 'runner/1/output/result'].filter((name) => existsSync(join(work, name)));
for (const descriptor of taken) closeSync(descriptor);
const alive = setInterval(() => {
  if (readdirSync(work).includes('run') || readdirSync(join(work, 'runner')).length > 0) return;
  // A folder is gone a moment before it is told.
  if (lines.length < left.length) return;
  clearInterval(alive);
  const told = lines.map(({ msg, tries }) => ({ msg, tries }));
  process.stdout.write(JSON.stringify({ code: outcome.failure?.code, left, told }));
}, 20);
