import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/*
 * Builds the examples' images with the real BuildKit, pushes them to a real registry, and runs each example's script in
 * its image, as the image's user, on the sample that the example ships.
 */

const BUILDCTL = 'buildctl';
const HINT =
  'this test needs a BuildKit daemon and a registry that it may push to: set BUILDKIT_HOST (tcp://host:port) and ' +
  'REGISTRY_HOST (host:port; REGISTRY_SCHEME=https unless it is plain HTTP), and have buildctl on PATH';
const examples = fileURLToPath(new URL('../examples/', import.meta.url));
const tag = `test-${randomBytes(6).toString('hex')}`;

let folder: string;
let registry: { readonly host: string; readonly url: string };
const pushed: { repository: string; digest: string }[] = [];

interface Manifest {
  readonly config?: { readonly digest: string };
  readonly manifests?: readonly { readonly digest: string; readonly platform?: { readonly os: string } }[];
}

beforeAll(async () => {
  const { BUILDKIT_HOST, REGISTRY_HOST, REGISTRY_SCHEME = 'http' } = process.env;
  if (!BUILDKIT_HOST || !REGISTRY_HOST) throw new Error(HINT);
  registry = { host: REGISTRY_HOST, url: `${REGISTRY_SCHEME}://${REGISTRY_HOST}/v2` };
  folder = await mkdtemp(join(tmpdir(), 'examples-images-'));
});

afterAll(async () => {
  for (const { repository, digest } of pushed) {
    const answer = await ask(`${repository}/manifests/${digest}`, { method: 'DELETE' });
    // 404: two examples with the same content share a digest. 405: a registry that keeps what it has been given.
    if (![202, 404, 405].includes(answer.status))
      throw new Error(`${repository}@${digest} was not removed: ${answer.status}`);
  }
  if (folder) await rm(folder, { recursive: true, force: true });
});

const ask = (path: string, init: RequestInit = {}) =>
  fetch(`${registry.url}/${path}`, { ...init, signal: AbortSignal.timeout(20_000) });

/** Runs `buildctl build`; rejects with the end of its output when it fails. */
function buildctl(args: readonly string[]) {
  return new Promise<void>((resolve, reject) => {
    const child = spawn(BUILDCTL, ['build', '--progress=plain', '--frontend=dockerfile.v0', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 170_000,
    });
    let output = '';
    const keepEnd = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8192);
    };
    child.stdout.on('data', keepEnd);
    child.stderr.on('data', keepEnd);
    child.on('error', (error) =>
      reject(new Error(`buildctl could not be started: ${HINT}`, { cause: error })),
    );
    child.on('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`buildctl ended with ${code ?? signal}:\n${output}`));
    });
  });
}

/** Builds `examples/<example>` with that folder alone as its context and pushes it. */
async function buildAndPush(example: string) {
  const repository = `sluice-examples/${example}`;
  const context = join(examples, example);
  await buildctl([
    `--local=context=${context}`,
    `--local=dockerfile=${context}`,
    `--output=type=image,name=${registry.host}/${repository}:${tag},push=true`,
  ]);
  const found = await manifest(repository, tag);
  pushed.push({ repository, digest: found.digest });
  return { repository, digest: found.digest, manifest: found.body };
}

async function manifest(repository: string, reference: string): Promise<{ digest: string; body: Manifest }> {
  const answer = await ask(`${repository}/manifests/${reference}`, {
    headers: {
      accept: ['image.index', 'image.manifest']
        .map((kind) => `application/vnd.oci.${kind}.v1+json`)
        .concat('application/vnd.docker.distribution.manifest.v2+json')
        .join(', '),
    },
  });
  expect(answer.status, `manifest of ${repository}:${reference}`).toBe(200);
  const digest = answer.headers.get('docker-content-digest') ?? '';
  expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  return { digest, body: (await answer.json()) as Manifest };
}

/** The user that the pushed image runs as, read from its config through the registry. */
async function imageUser(image: Awaited<ReturnType<typeof buildAndPush>>) {
  const platform = image.manifest.manifests?.find((entry) => entry.platform?.os === 'linux');
  const single = platform ? (await manifest(image.repository, platform.digest)).body : image.manifest;
  const answer = await ask(`${image.repository}/blobs/${single.config?.digest ?? 'none'}`);
  expect(answer.status).toBe(200);
  const config = (await answer.json()) as { config?: { User?: string } };
  return config.config?.User ?? '';
}

/** As OSCAR §7.2 and §7.5 have it; the script's exit code and output are kept, as it may be meant to fail. */
const runScript = (script: string, input: string, outputDir: string) =>
  `mkdir -p ${outputDir} && { INPUT_FILE_PATH=${input} TMP_OUTPUT_DIR=${outputDir} ` +
  `/bin/sh /check/${script} >${outputDir}.log 2>&1; echo $? >${outputDir}.exit; }`;

/** Runs `commands` in the image, with the example's folder at /check, and brings back /tmp/check. */
async function runInside(
  image: { repository: string; digest: string },
  example: string,
  commands: readonly string[],
) {
  const work = await mkdtemp(join(folder, `${example}-`));
  const context = join(work, 'context');
  const results = join(work, 'results');
  await mkdir(context);
  for (const entry of await readdir(join(examples, example)))
    if (entry.endsWith('.sh') || entry === 'samples')
      await cp(join(examples, example, entry), join(context, entry), { recursive: true });
  await writeFile(join(context, 'letter.jpg'), 'Dear Sir or Madam');
  const dockerfile = [
    `FROM ${registry.host}/${image.repository}@${image.digest} AS run`,
    'COPY . /check/',
    ...['mkdir /tmp/check && id -u >/tmp/check/uid', ...commands].map((command) => `RUN ${command}`),
    'FROM scratch',
    'COPY --from=run /tmp/check /',
  ];
  await writeFile(join(work, 'Dockerfile'), `${dockerfile.join('\n')}\n`);
  // Without the cache: what is brought back was made now, by this image.
  await buildctl([
    '--no-cache',
    `--local=context=${context}`,
    `--local=dockerfile=${work}`,
    `--output=type=local,dest=${results}`,
  ]);
  expect(await readFile(join(results, 'uid'), 'utf8')).toBe('10001\n');
  return results;
}

async function filesOf(path: string, ending = '') {
  const files: Record<string, string> = {};
  for (const name of (await readdir(path)).sort())
    if (name.endsWith(ending)) files[name] = await readFile(join(path, name), 'latin1');
  return files;
}

async function expectExit(results: string, run: string, code: number) {
  const log = await readFile(join(results, `${run}.log`), 'utf8');
  expect(await readFile(join(results, `${run}.exit`), 'utf8'), log).toBe(`${code}\n`);
  return log;
}

describe('images of the examples', () => {
  test('word-count: built, pushed, not root, and its script gives the expected bytes inside', async () => {
    const image = await buildAndPush('word-count');
    expect(await imageUser(image)).toBe('10001:10001');
    const results = await runInside(image, 'word-count', [
      runScript('script.sh', '/check/samples/harbour.txt', '/tmp/check/out'),
    ]);
    await expectExit(results, 'out', 0);
    expect(await filesOf(join(results, 'out'))).toEqual(await filesOf(join(examples, 'word-count/expected')));
  });

  test('pipeline: built, pushed, not root, and both scripts give the expected bytes inside', async () => {
    const image = await buildAndPush('pipeline');
    expect(await imageUser(image)).toBe('10001:10001');
    const results = await runInside(image, 'pipeline', [
      runScript('split.sh', '/check/samples/readings.csv', '/tmp/check/parts'),
      `for part in /tmp/check/parts/*.csv; do ${runScript('report.sh', '"$part"', '/tmp/check/reports')} || exit 1; done`,
    ]);
    await expectExit(results, 'parts', 0);
    await expectExit(results, 'reports', 0);
    const expected = join(examples, 'pipeline/expected');
    expect(await filesOf(join(results, 'parts'))).toEqual(await filesOf(expected, '.csv'));
    expect(await filesOf(join(results, 'reports'))).toEqual(await filesOf(expected, '-report.json'));
  });

  test('thumbnail: built, pushed, not root, and its script makes the pictures inside', async () => {
    const image = await buildAndPush('thumbnail');
    expect(await imageUser(image)).toBe('10001:10001');
    const describe = [
      "const fs = require('node:fs'), sharp = require('node:module').createRequire('/app/package.json')('sharp');",
      "const of = (dir) => fs.readdirSync(dir).sort().map(async (name) => { const m = await sharp(dir + '/' + name).metadata();",
      'return [name, m.format, m.width, m.height, m.space, m.hasAlpha]; });',
      "Promise.all([...of('/tmp/check/photo'), ...of('/tmp/check/badge')])",
      ".then((all) => fs.writeFileSync('/tmp/check/pictures.json', JSON.stringify(all)));",
    ].join(' ');
    const results = await runInside(image, 'thumbnail', [
      runScript('script.sh', '/check/samples/sunset.jpg', '/tmp/check/photo'),
      runScript('script.sh', '/check/samples/badge.png', '/tmp/check/badge'),
      runScript('script.sh', '/check/letter.jpg', '/tmp/check/letter'),
      JSON.stringify(['node', '-e', describe]),
    ]);
    await expectExit(results, 'photo', 0);
    await expectExit(results, 'badge', 0);
    expect(JSON.parse(await readFile(join(results, 'pictures.json'), 'utf8'))).toEqual([
      ['sunset-grey.jpg', 'jpeg', 640, 480, 'b-w', false],
      ['sunset-small.jpg', 'jpeg', 320, 240, 'srgb', false],
      ['badge-grey.png', 'png', 480, 480, 'b-w', true],
      ['badge-small.png', 'png', 320, 320, 'srgb', true],
    ]);
    expect(await expectExit(results, 'letter', 3)).toMatch(
      /^sluice-thumbnail: "letter\.jpg" is not a picture/,
    );
    expect(await filesOf(join(results, 'letter'))).toEqual({});
  });
});
