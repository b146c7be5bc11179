import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from '@sluice/shared/testing';

const run = promisify(execFile);

/** A registry of a test's own, with deletion on. */
export interface OwnRegistry {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  readonly commands: {
    readonly readOnly: [string, ...string[]];
    readonly writable: [string, ...string[]];
    readonly collect: [string, ...string[]];
    readonly usage: [string, ...string[]];
  };
  bytes(): Promise<number>;
  close(): Promise<void>;
}

/** Starts `registry serve` on a free port, by the script that an administrator would have. */
export async function openRegistry(): Promise<OwnRegistry> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-registry-'));
  const storage = join(folder, 'storage');
  const config = join(folder, 'config.yml');
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  await writeFile(
    config,
    `version: 0.1
storage:
  filesystem: { rootdirectory: ${storage} }
  delete: { enabled: true }
  cache: { blobdescriptor: inmemory }
http: { addr: "${host}" }
log: { level: error }
`,
  );
  const control = fileURLToPath(new URL('registry-control.ts', import.meta.url));
  const commandOf = (mode: string): [string, ...string[]] => [process.execPath, control, folder, host, mode];
  const [program, ...args] = commandOf('writable');
  await run(program, args);
  const usage: [string, ...string[]] = ['du', '-sk', storage];
  return {
    host,
    commands: {
      readOnly: commandOf('read-only'),
      writable: commandOf('writable'),
      collect: ['registry', 'garbage-collect', '--delete-untagged', config],
      usage,
    },
    bytes: async () => Number.parseInt((await run('du', ['-sk', storage])).stdout, 10) * 1024,
    close: async () => {
      process.kill(Number(await readFile(join(folder, 'pid'), 'utf8')), 'SIGKILL');
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
