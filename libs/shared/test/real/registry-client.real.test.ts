import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRegistryClient, type RegistryClient } from '../../src/adapters/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';

const { REGISTRY_HOST } = process.env;
let client: RegistryClient;

beforeEach(() => {
  if (!REGISTRY_HOST) {
    throw new Error(
      'this test needs a registry with library/busybox that allows pushes and deletion: set REGISTRY_HOST (host:port)',
    );
  }
  client = createRegistryClient({
    logins: () => Promise.resolve(undefined),
    platform: { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' },
    clock: systemClock,
  });
});
afterEach(() => client.close());

const sha256 = (body: string): string => `sha256:${createHash('sha256').update(body).digest('hex')}`;

async function pushBlob(repository: string, body: string): Promise<{ digest: string; size: number }> {
  const digest = sha256(body);
  const begun = await fetch(`http://${REGISTRY_HOST}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const place = new URL(begun.headers.get('location') ?? '', begun.url);
  place.searchParams.set('digest', digest);
  const type = { 'content-type': 'application/octet-stream' };
  expect((await fetch(place, { method: 'PUT', body, headers: type })).status).toBe(201);
  return { digest, size: body.length };
}

async function pushManifest(
  repository: string,
  name: string,
  manifest: { mediaType: string },
): Promise<string> {
  const body = JSON.stringify(manifest);
  const address = `http://${REGISTRY_HOST}/v2/${repository}/manifests/${name}`;
  const put = await fetch(address, { method: 'PUT', body, headers: { 'content-type': manifest.mediaType } });
  expect(put.status).toBe(201);
  return sha256(body);
}

async function pushImage(repository: string, name: string, user: string): Promise<string> {
  const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };
  const config = await pushBlob(
    repository,
    JSON.stringify({ ...platform, config: { User: user }, rootfs: { type: 'layers', diff_ids: [] } }),
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const kind = 'application/vnd.oci.image.config.v1+json';
  return pushManifest(repository, name, {
    schemaVersion: 2,
    mediaType,
    config: { mediaType: kind, ...config },
    layers: [],
  } as never);
}

test('facts of images as they are', async () => {
  const facts = await client.imageFacts(`${REGISTRY_HOST}/library/busybox`);
  expect(facts.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(facts.platforms.length).toBeGreaterThan(0);
  expect(await client.imageFacts(`${REGISTRY_HOST}/library/busybox@${facts.digest}`)).toEqual(facts);
  const head = await client.headManifest(`${REGISTRY_HOST}/library/busybox:latest`);
  expect(head?.digest).toBe(facts.digest);
});

test('the user of an image, by tag and behind an index', async () => {
  const repository = `test/r${randomBytes(6).toString('hex')}`;
  const digest = await pushImage(repository, 'one', '1000:2000');
  expect(await client.imageFacts(`${REGISTRY_HOST}/${repository}:one`)).toMatchObject({
    digest,
    user: '1000:2000',
  });
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const size = 1;
  const manifests = [{ mediaType, digest, size, platform: { os: 'linux', architecture } }];
  const index = await pushManifest(repository, 'two', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests,
  } as never);
  expect(await client.imageFacts(`${REGISTRY_HOST}/${repository}:two`)).toEqual({
    digest: index,
    user: '1000:2000',
    platforms: [`linux/${architecture}`],
  });
  await client.deleteManifest(`${REGISTRY_HOST}/${repository}@${index}`);
  await client.deleteManifest(`${REGISTRY_HOST}/${repository}@${digest}`);
});

test('tags come in pages; what is deleted is gone, twice as well', async () => {
  const repository = `test/r${randomBytes(6).toString('hex')}`;
  const digests: string[] = [];
  for (const tag of ['a', 'b', 'c', 'd', 'e']) digests.push(await pushImage(repository, tag, `user-${tag}`));
  const found: string[] = [];
  let pages = 0;
  let after: string | undefined;
  do {
    const page = await client.listTags(`${REGISTRY_HOST}/${repository}`, {
      limit: 2,
      ...(after === undefined ? {} : { after }),
    });
    found.push(...page.tags);
    after = page.next;
    pages += 1;
  } while (after !== undefined && pages < 10);
  expect(found).toEqual(['a', 'b', 'c', 'd', 'e']);
  expect(pages).toBe(3);
  for (const digest of digests) {
    await client.deleteManifest(`${REGISTRY_HOST}/${repository}@${digest}`);
    await client.deleteManifest(`${REGISTRY_HOST}/${repository}@${digest}`);
  }
  expect(await client.headManifest(`${REGISTRY_HOST}/${repository}:a`)).toBeUndefined();
  expect((await client.listTags(`${REGISTRY_HOST}/${repository}`)).tags).toEqual([]);
  expect(await client.listTags(`${REGISTRY_HOST}/test/nothing-is-here`)).toEqual({ tags: [] });
  await expect(client.deleteManifest(`${REGISTRY_HOST}/${repository}:a`)).rejects.toMatchObject({
    code: 'invalid_input',
  });
});

test('an image that is not there, and a registry that is not there', async () => {
  await expect(client.imageFacts(`${REGISTRY_HOST}/library/busybox:no-such-tag`)).rejects.toMatchObject({
    code: 'not_found',
    message: `There is no image ${REGISTRY_HOST}/library/busybox:no-such-tag.`,
  });
  await expect(client.imageFacts('127.0.0.1:1/x')).rejects.toMatchObject({ code: 'unavailable' });
  await expect(client.imageFacts('no image')).rejects.toMatchObject({
    code: 'invalid_input',
    field: 'image',
  });
});
