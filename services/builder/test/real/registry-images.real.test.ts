import { createHash } from 'node:crypto';
import { createServer, request as httpRequest } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { RegistryClient } from '@sluice/shared/adapters';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createImageRegistry } from '../../src/adapters/index.ts';
import type { ImageRegistry } from '../../src/ports.ts';
import { openOwnRegistry, randomName, registryClient, testBed } from './build-fixture.ts';

let client: RegistryClient;
let images: ImageRegistry;
let closers: (() => Promise<void>)[];

beforeEach(() => {
  client = registryClient();
  images = createImageRegistry({ client });
  closers = [async () => client.close()];
});
afterEach(async () => {
  for (const close of closers.reverse()) await close();
});

const sha256 = (body: string): string => `sha256:${createHash('sha256').update(body).digest('hex')}`;
const imageType = 'application/vnd.oci.image.manifest.v1+json';
const indexType = 'application/vnd.oci.image.index.v1+json';
const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

interface Described {
  readonly digest: string;
  readonly size: number;
}

async function pushBlob(repository: string, body: string): Promise<Described> {
  const [host = '', name = ''] = repository.split(/\/(.*)/);
  const begun = await fetch(`http://${host}/v2/${name}/blobs/uploads/`, { method: 'POST' });
  const place = new URL(begun.headers.get('location') ?? '', begun.url);
  place.searchParams.set('digest', sha256(body));
  const headers = { 'content-type': 'application/octet-stream' };
  expect((await fetch(place, { method: 'PUT', body, headers })).status).toBe(201);
  return { digest: sha256(body), size: Buffer.byteLength(body) };
}

async function pushManifest(
  repository: string,
  name: string,
  manifest: { mediaType: string },
): Promise<Described> {
  const [host = '', path = ''] = repository.split(/\/(.*)/);
  const body = JSON.stringify(manifest);
  const address = `http://${host}/v2/${path}/manifests/${name}`;
  const put = await fetch(address, { method: 'PUT', body, headers: { 'content-type': manifest.mediaType } });
  expect(put.status).toBe(201);
  closers.push(async () => client.deleteManifest(`${repository}@${sha256(body)}`).catch(() => undefined));
  return { digest: sha256(body), size: Buffer.byteLength(body) };
}

async function pushImage(
  repository: string,
  tag: string,
  layers: readonly string[],
): Promise<Described & { readonly config: Described; readonly layers: readonly Described[] }> {
  const config = await pushBlob(
    repository,
    JSON.stringify({
      os: 'linux',
      architecture,
      created: '2026-01-02T03:04:05.678Z',
      config: { Labels: { made: tag } },
      rootfs: { type: 'layers', diff_ids: [] },
    }),
  );
  const pushed: Described[] = [];
  for (const layer of layers) pushed.push(await pushBlob(repository, layer));
  const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
  const manifest = await pushManifest(repository, tag, {
    schemaVersion: 2,
    mediaType: imageType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: pushed.map((layer) => ({ mediaType: layerType, ...layer })),
  } as never);
  return { ...manifest, config, layers: pushed };
}

const sorted = (parts: readonly Described[] | undefined): Described[] =>
  (parts ?? [])
    .map(({ digest, size }) => ({ digest, size }))
    .sort((a, b) => a.digest.localeCompare(b.digest));

test('what an image consists of, by tag, by digest and behind an index', async () => {
  const repository = `${testBed().registry}/${randomName()}`;
  const one = await pushImage(repository, 'one', ['layer one', 'shared layer']);
  const size = one.config.size + one.layers.reduce((sum, layer) => sum + layer.size, 0);
  const details = await images.details(`${repository}:one`);
  expect({ ...details, parts: sorted(details?.parts) }).toEqual({
    digest: one.digest,
    size,
    parts: sorted([one, one.config, ...one.layers]),
    createdAt: Date.parse('2026-01-02T03:04:05.678Z'),
    labels: { made: 'one' },
  });
  expect(await images.details(`${repository}@${one.digest}`)).toEqual(details);
  expect(await images.details(`${repository}:none`)).toBeUndefined();
  expect(await images.digestOf(`${repository}:none`)).toBeUndefined();
  expect(await images.digestOf(`${repository}:one`)).toBe(one.digest);

  const other = await pushImage(repository, 'other', ['shared layer', 'an attestation']);
  const entry = (of: Described, os: string): object => {
    const platform = { os, architecture: os === 'unknown' ? 'unknown' : architecture };
    return { mediaType: imageType, digest: of.digest, size: of.size, platform };
  };
  const index = await pushManifest(repository, 'index', {
    schemaVersion: 2,
    mediaType: indexType,
    manifests: [entry(other, 'unknown'), entry(one, 'linux')],
  } as never);
  const both = await images.details(`${repository}:index`);
  const [, sharedLayer] = one.layers;
  expect(both).toMatchObject({ digest: index.digest, labels: { made: 'one' } });
  expect(both?.size).toBe(
    size +
      other.config.size +
      other.layers.reduce((sum, layer) => sum + layer.size, 0) -
      (sharedLayer?.size ?? 0),
  );
  // Two manifests under an index, two configurations, three layers.
  expect(both?.parts.length).toBe(8);
});

test('tags are given and taken one at a time', async () => {
  const repository = `${testBed().registry}/${randomName()}`;
  const { digest } = await pushImage(repository, 'a', ['x']);
  await images.tag(repository, digest, 'b');
  await images.tag(repository, digest, 'b');
  expect([...(await images.tags(repository))].sort()).toEqual(['a', 'b']);
  expect(await images.digestOf(`${repository}:b`)).toBe(digest);
  const second = await pushImage(repository, 'c', ['y']);
  await images.tag(repository, second.digest, 'b');
  expect(await images.digestOf(`${repository}:b`)).toBe(second.digest);
  await images.removeTag(repository, 'b');
  await images.removeTag(repository, 'b');
  expect([...(await images.tags(repository))].sort()).toEqual(['a', 'c']);
  expect(await images.digestOf(`${repository}:c`)).toBe(second.digest);
  expect(await images.tags(`${testBed().registry}/${randomName()}`)).toEqual([]);
  await expect(images.tag(repository, `sha256:${'0'.repeat(64)}`, 'd')).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(images.tag(repository, digest, 'not a tag')).rejects.toMatchObject({ code: 'invalid_input' });
});

/** The registry as one that only deletes by digest, as distribution 2.8 does. */
async function openOldRegistry(): Promise<string> {
  const [hostname = '', port = ''] = testBed().registry.split(':');
  const server = createServer((asked, answer) => {
    if (asked.method === 'DELETE' && !asked.url?.includes('sha256:')) {
      answer.writeHead(400).end();
      return;
    }
    const { method, url, headers } = asked;
    const passed = httpRequest({ hostname, port, method, path: url, headers }, (got) => {
      answer.writeHead(got.statusCode ?? 500, got.headers);
      got.pipe(answer);
    });
    asked.pipe(passed);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a registry that deletes no tags keeps the others of the same image', async () => {
  const name = randomName();
  const repository = `${testBed().registry}/${name}`;
  const { digest } = await pushImage(repository, 'a', ['x']);
  await images.tag(repository, digest, 'b');
  const old = `${await openOldRegistry()}/${name}`;
  await images.removeTag(old, 'b');
  await images.removeTag(old, 'b');
  expect(await images.tags(repository)).toEqual(['a']);
  expect(await images.digestOf(`${repository}:a`)).toBe(digest);
  await images.removeTag(old, 'a');
  expect(await images.tags(repository)).toEqual([]);
});

test('a registry that deletes nothing says so and is left as it is', async () => {
  const registry = await openOwnRegistry('no-deletion');
  closers.push(registry.close);
  const repository = `${registry.host}/anna`;
  const { digest } = await pushImage(repository, 'a', ['x']);
  await expect(images.removeTag(repository, 'a')).rejects.toMatchObject({
    code: 'unsupported',
    message: expect.stringContaining('deletes nothing'),
  });
  expect(await images.digestOf(`${repository}:a`)).toBe(digest);
});

test('facts of a base image', async () => {
  const facts = await images.baseFacts(`${testBed().registry}/library/busybox`);
  expect(facts).toMatchObject({
    digest: expect.stringMatching(/^sha256:/),
    platforms: [`linux/${architecture}`],
  });
});
