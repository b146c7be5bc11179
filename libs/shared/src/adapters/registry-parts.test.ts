import { expect, test } from 'vitest';
import { fakeClock } from '../testing/index.ts';
import { AppError } from '../errors/index.ts';
import { createImageFactsCache } from './image-facts-cache.ts';
import { parseChallenges } from './registry-challenge.ts';
import { isPrivateHost, mayBePlain } from './registry-hosts.ts';
import { choosePlatform, readConfig, readManifest } from './registry-manifest.ts';

test.each([
  ['localhost:5000', true],
  ['127.0.0.1:5000', true],
  ['[::1]:5000', true],
  ['10.1.2.3', true],
  ['172.31.0.1', true],
  ['172.32.0.1', false],
  ['192.168.1.1:80', true],
  ['[fd00::1]', true],
  ['registry:5000', true],
  ['registry.sluice.svc.cluster.local', true],
  ['ghcr.io', false],
  ['localhost.evil.example', false],
  ['10.evil.example', false],
  ['8.8.8.8', false],
  ['[2001:db8::1]', false],
  ['127.1', true],
  ['0177.0.0.1:80', true],
  ['0x7f.0.0.1', true],
  ['2130706433', true],
  ['0.0.0.0:5000', true],
  ['[::]:5000', true],
  ['[::ffff:127.0.0.1]:5000', true],
  ['[::ffff:a00:1]', true],
  ['[::ffff:808:808]', false],
  ['localhost.', true],
])('%s is private: %s', (host, expected) => {
  expect(isPrivateHost(host)).toBe(expected);
  expect(mayBePlain(host, [])).toBe(expected);
});

test('plain HTTP is for named hosts besides, never for link-local addresses by themselves', () => {
  expect(mayBePlain('images.example:5000', ['images.example:5000'])).toBe(true);
  expect(mayBePlain('images.example:5001', ['images.example:5000'])).toBe(false);
  expect(mayBePlain('images.example:5001', ['images.example'])).toBe(true);
  for (const host of ['169.254.169.254', '[::ffff:a9fe:a9fe]', '0xa9fea9fe', '[fe80::1]']) {
    expect(isPrivateHost(host), host).toBe(true);
    expect(mayBePlain(host, []), host).toBe(false);
  }
  expect(mayBePlain('169.254.169.254', [])).toBe(false);
});

test('challenges are read as they come', () => {
  expect(
    parseChallenges(
      'Bearer realm="https://a.example/token",service="a \\"b\\"", scope="repository:x/y:pull,push"',
    ),
  ).toEqual([
    {
      scheme: 'bearer',
      parameters: { realm: 'https://a.example/token', service: 'a "b"', scope: 'repository:x/y:pull,push' },
    },
  ]);
  expect(parseChallenges('Negotiate, BASIC realm=x, Bearer realm="y"')).toEqual([
    { scheme: 'negotiate', parameters: {} },
    { scheme: 'basic', parameters: { realm: 'x' } },
    { scheme: 'bearer', parameters: { realm: 'y' } },
  ]);
  expect(parseChallenges('')).toEqual([]);
  expect(parseChallenges('"nothing"')).toEqual([]);
});

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const digest = `sha256:${'a'.repeat(64)}`;

test('manifests, indexes and configurations are read, anything else is refused', () => {
  expect(readManifest('x', json({ config: { digest } }))).toEqual({ kind: 'image', config: digest });
  const arm = { os: 'linux', architecture: 'arm64', variant: 'v8' };
  const provenance = { digest, platform: { os: 'unknown', architecture: 'unknown' } };
  expect(readManifest('x', json({ manifests: [{ digest, platform: arm }, provenance] }))).toEqual({
    kind: 'index',
    entries: [{ digest, platform: arm }],
  });
  for (const body of ['', 'null', '[]', '{"config":{"digest":"../../x"}}', '{"schemaVersion":1}']) {
    expect(() => readManifest('x', Buffer.from(body))).toThrow(/cannot be read/);
  }
  expect(
    readConfig('x', json({ os: 'linux', architecture: 'amd64', config: { User: '1000:1000' } })),
  ).toEqual({
    user: '1000:1000',
    platform: { os: 'linux', architecture: 'amd64' },
  });
  expect(readConfig('x', json({ os: 'linux', architecture: 'amd64', config: null })).user).toBe('');
  expect(() => readConfig('x', json({ config: { User: 7 } }))).toThrow(/cannot be read/);
});

test('the entry of the platform is chosen', () => {
  const entry = (architecture: string, variant?: string) => ({
    platform: { os: 'linux', architecture, ...(variant === undefined ? {} : { variant }) },
    digest: `${architecture}${variant}`,
  });
  const entries = [entry('arm', 'v6'), entry('arm', 'v7'), entry('amd64'), entry('arm64', 'v8')];
  const choose = (architecture: string, variant?: string): string =>
    choosePlatform('x', entries, entry(architecture, variant).platform).digest;
  expect(choose('arm', 'v7')).toBe('armv7');
  expect(choose('arm64')).toBe('arm64v8');
  expect(choose('amd64')).toBe('amd64undefined');
  expect(() => choose('s390x')).toThrow(
    'The image x is made for linux/arm/v6, linux/arm/v7, linux/amd64, linux/arm64/v8 only, not for linux/s390x.',
  );
});

test('the cache asks once for all, again after its time, and is bounded', async () => {
  const clock = fakeClock();
  const asked: string[] = [];
  let failing: AppError | undefined;
  const facts = createImageFactsCache({
    client: {
      imageFacts: (reference) => {
        asked.push(reference);
        if (failing !== undefined) return Promise.reject(failing);
        return Promise.resolve({ digest, user: '', platforms: [] });
      },
    },
    clock,
    ttlMs: 1000,
    failureMs: 100,
    size: 2,
  });
  await Promise.all([facts('a'), facts('a'), facts('a')]);
  clock.advance(999);
  await facts('a');
  expect(asked).toEqual(['a']);
  clock.advance(1);
  await facts('a');
  await facts('b');
  await facts('a');
  await facts('c');
  expect(asked).toEqual(['a', 'a', 'b', 'c']);
  // b had to go, a had not.
  await facts('a');
  await facts('b');
  expect(asked).toEqual(['a', 'a', 'b', 'c', 'b']);
  failing = new AppError('limit_reached', 'later', { retryAfterSeconds: 2 });
  await expect(facts('d')).rejects.toBe(failing);
  clock.advance(1999);
  await expect(facts('d')).rejects.toBe(failing);
  expect(asked.length).toBe(6);
  failing = undefined;
  clock.advance(1);
  expect(await facts('d')).toMatchObject({ digest });
});
