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

/** Who asks for a build, and where. */
export interface BuildCaller {
  readonly url: string;
  readonly login: string;
  /** `name:password`, or `uuid:key` of an account. */
  readonly token: string;
}

/** A requirements file becomes an image, which a service then runs in. @returns the image as services name it */
export async function firstImage(sluice: Client, caller: BuildCaller): Promise<string> {
  const id = await startBuild(caller, {
    source: 'python:3.11-slim',
    kind: 'python',
    target: `${caller.login}:six`,
    file: Buffer.from('six==1.16.0\n').toString('base64'),
  });
  const ended = await waitFor(
    'the image',
    async () => {
      const seen = await askBuilds(caller, `/system/builds/${id}`);
      return ['queued', 'running', undefined].includes(seen?.['state']) ? undefined : seen;
    },
    150_000,
    100,
  );
  expect(ended, JSON.stringify(ended)).toMatchObject({ state: 'succeeded' });
  const image = ended['image'] ?? '';
  await inFolder(async (path) => {
    const service = { name: `six-${caller.login}`, image, memory: '64Mi', cpu: '0.1', script: 'six.sh' };
    await writeFile(path('six.sh'), "#!/bin/sh\npython3 -c 'import six; print(six.__version__)'\n");
    await writeFile(path('fdl.yaml'), JSON.stringify({ functions: { oscar: [{ any: service }] } }));
    await done(sluice('apply', path('fdl.yaml')));
    expect(await done(sluice('--timeout', '3m', 'call', service.name, path('six.sh')))).toContain('1.16.0');
  });
  return image;
}

/** Processes that were just started may not be reached yet. */
async function startBuild(caller: BuildCaller, request: object): Promise<string> {
  const started = await waitFor(
    'a process that takes builds',
    () => askBuilds(caller, '/system/api/v1/build/start', request),
    60_000,
    250,
  );
  return started['id'] ?? '';
}

async function askBuilds(
  { url, token }: BuildCaller,
  path: string,
  body?: object,
): Promise<Record<string, string> | undefined> {
  const answer = await fetch(`${url}${path}`, {
    headers: {
      authorization: `Basic ${Buffer.from(token).toString('base64')}`,
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  }).catch(() => undefined);
  if (answer === undefined || answer.status === 503) return undefined;
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
  return JSON.parse(text) as Record<string, string>;
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
