#!/usr/bin/env node
// Builds an image of deploy/docker and pushes it: `node tools/build-image.mjs supervisor`. Needs BUILDKIT_HOST, REGISTRY_HOST and the program buildctl. The tag is a hash of
// what goes into it, so that several tests at once build it once, and an unchanged one not at all. Prints the image's name.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const [name] = process.argv.slice(2);
const { BUILDKIT_HOST, REGISTRY_HOST } = process.env;
if (!name || !BUILDKIT_HOST || !REGISTRY_HOST) {
  process.stderr.write(
    'usage: BUILDKIT_HOST=… REGISTRY_HOST=… node tools/build-image.mjs <name in deploy/docker>\n',
  );
  process.exit(2);
}
/** Milliseconds after which another's lock is one that was left. */
const lockMs = 900_000;
const dockerfile = `${name}.Dockerfile`;
const sources = ['package-lock.json', 'libs', 'services', 'apps', 'tools', `deploy/docker/${dockerfile}`];

const hash = createHash('sha256');
for (const source of sources) addFile(source);
const tag = hash.digest('hex').slice(0, 16);
const image = `${REGISTRY_HOST}/sluice/${name}:${tag}`;
const lock = join(tmpdir(), `sluice-image-${name}-${tag}.lock`);
while (!(await isPushed())) {
  if (!takeLock()) {
    await delay(500);
    continue;
  }
  try {
    await push();
  } finally {
    rmdirSync(lock);
  }
}
process.stdout.write(`${image}\n`);

function addFile(path) {
  const stats = statSync(join(root, path));
  if (!stats.isDirectory()) {
    hash
      .update(path)
      .update('\0')
      .update(readFileSync(join(root, path)));
    return;
  }
  for (const entry of readdirSync(join(root, path)).sort()) {
    if (!['node_modules', 'dist', 'test', '.turbo'].includes(entry)) addFile(`${path}/${entry}`);
  }
}

async function isPushed() {
  const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json';
  const url = `http://${REGISTRY_HOST}/v2/sluice/${name}/manifests/${tag}`;
  const { status } = await fetch(url, { method: 'HEAD', headers: { accept } });
  return status === 200;
}

function takeLock() {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > lockMs) rmdirSync(lock);
    return false;
  }
}

async function push() {
  const output = `type=image,name=${image},push=true,registry.insecure=true`;
  const args = ['build', '--frontend', 'dockerfile.v0', '--local', `context=${root}`];
  args.push('--local', `dockerfile=${join(root, 'deploy/docker')}`, '--opt', `filename=${dockerfile}`);
  args.push('--output', output, '--progress', 'plain');
  try {
    await promisify(execFile)('buildctl', ['--addr', BUILDKIT_HOST, ...args], {
      maxBuffer: 64 * 1024 * 1024,
    });
  } catch (error) {
    process.stderr.write(`${error.stderr ?? error.message}\n`);
    throw new Error(`the image ${name} could not be built`, { cause: error });
  }
}
