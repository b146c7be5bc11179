import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Finished } from './server.ts';
import { waitFor } from './wait.ts';

/** Runs the client against an installation. */
export type Client = (...args: readonly string[]) => Promise<Finished>;

async function done(finished: Promise<Finished>): Promise<string> {
  const { code, stdout, stderr } = await finished;
  expect(code, `${stdout}${stderr}`).toBe(0);
  return stdout;
}

/** Applies a service that turns text into capital letters. */
export async function applyUpper(sluice: Client, name: string): Promise<void> {
  await inFolder(async (path) => {
    await writeFile(
      path('upper.sh'),
      '#!/bin/sh\ntr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/out-$(basename "$INPUT_FILE_PATH")"\n',
    );
    await writeFile(path('fdl.yaml'), fdl(name));
    await done(sluice('apply', path('fdl.yaml')));
  });
}

/** What anybody does first: a service is applied, a file becomes a result, a call is answered. */
export async function firstSteps(sluice: Client, name: string): Promise<void> {
  await applyUpper(sluice, name);
  await inFolder(async (path) => {
    await writeFile(path('a.txt'), 'files into results\n');
    await done(sluice('--timeout', '3m', 'file', 'put', '--wait', path('a.txt'), `${name}/in/`));
    await done(sluice('file', 'get', `${name}/out/out-a.txt`, path('got.txt')));
    expect(await readFile(path('got.txt'), 'utf8')).toBe('FILES INTO RESULTS\n');
    const runs: unknown = JSON.parse(await done(sluice('--json', 'run', 'list', name)));
    expect(JSON.stringify(runs)).toContain('succeeded');
    expect(await done(sluice('--timeout', '3m', 'call', name, path('a.txt')))).toContain(
      'FILES INTO RESULTS',
    );
  });
}

async function inFolder(use: (path: (file: string) => string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-smoke-'));
  try {
    await use((file) => join(folder, file));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function fdl(name: string): string {
  return `functions:
  oscar:
    - any:
        name: ${name}
        image: busybox
        memory: 64Mi
        cpu: '0.1'
        script: upper.sh
        input: [{ storage_provider: minio.default, path: ${name}/in }]
        output: [{ storage_provider: minio.default, path: ${name}/out }]
`;
}

/** Processes look at their servers every ten seconds: what was wrong while all of them started is said for so long. */
export async function healthy(sluice: Client): Promise<void> {
  let last = '';
  const ok = async (): Promise<true | undefined> => {
    const { code, stdout, stderr } = await sluice('doctor');
    last = stdout + stderr;
    return code === 0 ? true : undefined;
  };
  await waitFor('the doctor to find nothing', ok, 60_000, 1000).catch((error: unknown) => {
    throw new Error(last, { cause: error });
  });
}
