import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/testing/index.ts';
import { eventually } from '../../src/testing/eventually.ts';

/** A server of a test's own. */
export interface OwnServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Starts a program on a free port, with an empty folder, and waits until somebody listens there. */
export async function startProgram(
  program: string,
  args: (place: { readonly port: number; readonly folder: string }) => readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly isUp: (port: number) => Promise<boolean>;
  },
): Promise<OwnServer> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-looks-'));
  const port = await freePort();
  const child: ChildProcess = spawn(program, args({ port, folder }), {
    stdio: 'ignore',
    env: { ...process.env, ...options.env },
  });
  child.once('error', () => undefined);
  await eventually(`${program} answers (it has to be in PATH)`, async () => options.isUp(port), 20_000);
  return {
    port,
    close: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, 'exit');
        child.kill('SIGKILL');
        await gone;
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}
