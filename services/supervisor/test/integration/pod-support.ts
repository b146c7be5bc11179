import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { podShimIn } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import { onTestFinished } from 'vitest';
import { openPodScripts, type PodScripts } from '../../src/adapters/pod-scripts.ts';
import { makeWorkFolder } from '../../src/files/work-folder.ts';
import type { ScriptEnd, ScriptRequest, WorkFolder } from '../../src/ports.ts';

/** Shells that images have. */
export const shells: readonly (readonly string[])[] = [['dash'], ['busybox', 'sh'], ['bash', '--posix']];

/** A folder as a pod's two containers share it, and the shim as process 1 of a container of its own, as far as processes go. */
export interface TestPod {
  readonly folder: string;
  readonly shim: ChildProcess;
  /** Resolves with the shim's exit code, or its signal. */
  readonly ended: Promise<number | string>;
  /** A supervisor's side; another one is what a restart gives. */
  open(graceMs?: number, patient?: boolean): Promise<PodScripts>;
  /** Ends the container, as the kernel may. */
  kill(): void;
}

export function makePodFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'sluice-pod-')));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function startPod(shell: readonly string[], folder = makePodFolder()): TestPod {
  const own = process.getuid?.() === 0 ? [] : ['--user', '--map-current-user'];
  const isolated = ['--pid', '--fork', '--mount-proc', '--kill-child', ...own];
  const env = { PATH: process.env['PATH'] ?? '', HOME: '/nowhere', IMAGE: 'of the image' };
  const shim = spawn('unshare', [...isolated, ...shell, '-c', podShimIn(folder)], { stdio: 'ignore', env });
  const { promise: ended, resolve, reject } = Promise.withResolvers<number | string>();
  shim.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  shim.once('error', reject);
  onTestFinished(async () => {
    shim.kill('SIGKILL');
    await ended;
  });
  return {
    folder,
    shim,
    ended,
    open: async (graceMs = 1000, patient = false) => {
      const scripts = await openPodScripts({ folder, clock: systemClock, graceMs, patient });
      onTestFinished(() => scripts.close());
      return scripts;
    },
    kill: () => shim.kill('SIGKILL'),
  };
}

export interface Asked {
  readonly end: Promise<ScriptEnd>;
  readonly work: WorkFolder;
  readonly started: Promise<void>;
  /** What was printed up to now. */
  printed(): string;
}

let made = 0;

export async function ask(
  scripts: PodScripts,
  folder: string,
  text: string,
  more: Partial<ScriptRequest> & { readonly name?: string } = {},
): Promise<Asked> {
  const { writeFileSync } = await import('node:fs');
  const name = more.name ?? 'work';
  const work = await makeWorkFolder(join(folder, name));
  made += 1;
  const scriptPath = join(folder, `.text-${made}`);
  writeFileSync(scriptPath, text, { mode: 0o600 });
  const chunks: Buffer[] = [];
  const { promise: started, resolve } = Promise.withResolvers<void>();
  const end = scripts.run({
    scriptPath,
    cwd: work.root,
    env: { TMP_OUTPUT_DIR: work.output },
    timeoutMs: 20_000,
    signal: new AbortController().signal,
    onStarted: resolve,
    onOutput: async (chunk) => {
      chunks.push(Buffer.from(chunk));
      return Promise.resolve();
    },
    ...more,
  });
  end.catch(() => undefined);
  return { end, work, started, printed: () => Buffer.concat(chunks).toString() };
}
