import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const call = promisify(execFile);

export interface Context {
  readonly dockerfile: string;
  readonly files?: readonly { readonly name: string; readonly text: string }[];
}

export interface ImageConfig {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly [member: string]: unknown;
}

interface Manifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string }[];
}

function setting(name: 'BUILDKIT_HOST' | 'REGISTRY_HOST'): string {
  const value = process.env[name] ?? '';
  if (value === '') throw new Error(`this test needs BuildKit and a registry that it pushes to: set ${name}`);
  return value;
}

/** Builds by buildctl, pushed where a name is given. @returns the digest of what was pushed */
async function solve({ dockerfile, files = [] }: Context, name?: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-recipe-'));
  try {
    for (const file of [{ name: 'Dockerfile', text: dockerfile }, ...files]) {
      const path = join(folder, 'context', file.name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, file.text);
    }
    const context = join(folder, 'context');
    const metadata = join(folder, 'metadata.json');
    const output =
      name === undefined ? [] : [`--output=type=image,name=${name},push=true`, `--metadata-file=${metadata}`];
    const fixed = ['--progress=plain', '--frontend=dockerfile.v0'];
    await call(
      'buildctl',
      [
        `--addr=${setting('BUILDKIT_HOST')}`,
        'build',
        ...fixed,
        `--local=context=${context}`,
        `--local=dockerfile=${context}`,
        ...output,
      ],
      { maxBuffer: 64 * 1024 * 1024 },
    );
    if (name === undefined) return '';
    const told = JSON.parse(await readFile(metadata, 'utf8')) as { 'containerimage.digest': string };
    return told['containerimage.digest'];
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function fetched(repository: string, path: string): Promise<Response> {
  const accept = [
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.oci.image.index.v1+json',
  ].join(', ');
  return fetch(`http://${setting('REGISTRY_HOST')}/v2/${repository}/${path}`, { headers: { accept } });
}

async function manifestOf(image: string): Promise<Manifest> {
  const [repository, digest] = partsOf(image);
  return (await (await fetched(repository, `manifests/${digest}`)).json()) as Manifest;
}

function partsOf(image: string): readonly [string, string] {
  const [name = '', digest = ''] = image.split('@');
  return [name.slice(name.indexOf('/') + 1), digest];
}

/**
 * An image with a toolchain, pinned. It is named by what makes it and made once: later runs find it in the registry.
 */
export async function baseImage(name: string, context: Context): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(context)).digest('hex');
  const repository = `recipe-tests/${name}`;
  const image = `${setting('REGISTRY_HOST')}/${repository}`;
  const found = await fetched(repository, `manifests/${hash.slice(0, 20)}`);
  const digest = found.headers.get('docker-content-digest');
  await found.arrayBuffer();
  if (found.ok && digest !== null) return `${image}@${digest}`;
  return `${image}@${await solve(context, `${image}:${hash.slice(0, 20)}`)}`;
}

/** Builds and pushes an image. @returns its pinned name */
export async function builtImage(name: string, context: Context): Promise<string> {
  const repository = `${setting('REGISTRY_HOST')}/recipe-tests/built`;
  return `${repository}@${await solve(context, `${repository}:${name}`)}`;
}

/** What BuildKit and the step printed of a build that fails. */
export async function failureOf(context: Context): Promise<string> {
  try {
    await solve(context);
  } catch (error) {
    return error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
  }
  throw new Error('the build did not fail');
}

/** Runs a shell text in an image, as its user and in its folder; the build fails where one of its lines does. */
export async function check(
  image: string,
  lines: readonly string[],
  files: Context['files'] = [],
): Promise<void> {
  const copied = files.map(({ name }) => `COPY ${name} /tmp/check/${name}\n`).join('');
  const script = `set -eux\n${lines.join('\n')}\n`;
  const dockerfile = `FROM ${image}\n${copied}RUN --mount=type=bind,source=check.sh,target=/.check.sh ["/bin/sh","/.check.sh"]\n`;
  await solve({ dockerfile, files: [...files, { name: 'check.sh', text: script }] });
}

/** The configuration that runtimes go by: user, entry point, folder, environment. */
export async function configOf(image: string): Promise<ImageConfig> {
  const [repository] = partsOf(image);
  const { config } = await manifestOf(image);
  const told = (await (await fetched(repository, `blobs/${config.digest}`)).json()) as {
    config?: ImageConfig;
  };
  return told.config ?? {};
}

/** Files and links, not folders, in the layers that an image has on top of its base. */
export async function addedFiles(base: string, image: string): Promise<readonly string[]> {
  const below = (await manifestOf(base)).layers.length;
  const [repository] = partsOf(image);
  const names: string[] = [];
  for (const { digest } of (await manifestOf(image)).layers.slice(below)) {
    const blob = Buffer.from(await (await fetched(repository, `blobs/${digest}`)).arrayBuffer());
    names.push(...(await tarList(blob)).filter((name) => !name.endsWith('/')));
  }
  return names.map((name) => `/${name}`);
}

async function tarList(archive: Buffer): Promise<readonly string[]> {
  const listing = call('tar', ['-tz'], { maxBuffer: 64 * 1024 * 1024 });
  listing.child.stdin?.end(archive);
  return (await listing).stdout.split('\n').filter((line) => line !== '');
}
