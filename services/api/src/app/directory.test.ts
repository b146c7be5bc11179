import type { ServiceSecrets } from '@sluice/shared/contracts';
import { fakeClock } from '@sluice/shared/testing';
import { AppError } from '@sluice/shared/errors';
import type { DefinitionChange, StoredDefinition } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { Secret } from '@sluice/shared/config';
import { expect, test, vi } from 'vitest';
import { normaliseService } from '../domain/service-normalise.ts';
import { decodeService } from '../domain/service-wire.ts';
import { createAuthenticate } from './authenticate.ts';
import { createDirectory } from './directory.ts';

const definition = normaliseService(
  decodeService(
    Buffer.from(
      '{"name":"demo","image":"i","script":"s","input":[{"storage_provider":"minio","path":"in"}]}',
    ),
  ),
  { owner: 'o', ownerName: 'n', namespace: 's', minio: { endpoint: '', verify: true, region: '' } },
);
const stored = (uid: string, version = 1): StoredDefinition => ({
  name: 'demo',
  uid,
  version,
  created_at: 0,
  updated_at: 0,
  definition,
});
const token = (uid: string): string => uid.repeat(64).slice(0, 64);

function setUp(failures = 0) {
  let listener: (change: DefinitionChange) => void = () => undefined;
  let left = failures;
  const clock = fakeClock();
  const secrets = vi.fn<(uid: string) => Promise<ServiceSecrets>>(async (uid) => {
    await Promise.resolve();
    left -= 1;
    if (left >= 0) throw new AppError('unavailable', 'away');
    return { token: token(uid), environment: {} };
  });
  const directory = createDirectory({
    clock,
    log: silentLogger(),
    definitions: {
      secrets,
      watch: async (heard) => {
        listener = heard;
        heard({ kind: 'put', stored: stored('a') });
        return { stop: async () => undefined };
      },
    },
  });
  return { directory, clock, secrets, change: (change: DefinitionChange) => listener(change) };
}

test('knows every service by its token once it has started', async () => {
  const { directory } = setUp();
  await directory.start();
  expect(directory.byToken(token('a'))?.name).toBe('demo');
  expect(directory.byToken(token('b'))).toBeUndefined();
  expect(directory.byToken('')).toBeUndefined();
  expect(directory.count()).toBe(1);
  await directory.stop();
});

test('a new version keeps the token and is not read again', async () => {
  const { directory, change, secrets } = setUp();
  await directory.start();
  change({ kind: 'put', stored: stored('a', 2) });
  expect(directory.byToken(token('a'))?.uid).toBe('a');
  expect(secrets).toHaveBeenCalledTimes(1);
  await directory.stop();
});

test('a service made anew has its new token only', async () => {
  const { directory, change } = setUp();
  await directory.start();
  change({ kind: 'removed', name: 'demo', uid: 'a' });
  expect(directory.byToken(token('a'))).toBeUndefined();
  change({ kind: 'put', stored: stored('b') });
  await vi.waitFor(() => expect(directory.byToken(token('b'))?.uid).toBe('b'));
  // A removal that comes late is not the new one's.
  change({ kind: 'removed', name: 'demo', uid: 'a' });
  expect(directory.byToken(token('b'))?.uid).toBe('b');
  await directory.stop();
});

test('what this process stored is known at once', async () => {
  const { directory } = setUp();
  await directory.start();
  directory.remember(stored('b'), token('b'));
  expect(directory.byToken(token('a'))).toBeUndefined();
  expect(directory.byToken(token('b'))?.uid).toBe('b');
  directory.forget('demo', 'b');
  expect(directory.count()).toBe(0);
  await directory.stop();
});

test('reads a token again while the store is away, and ends when told to', async () => {
  const { directory, clock } = setUp(2);
  const started = directory.start();
  for (let tries = 0; tries < 2; tries += 1) {
    await vi.waitFor(() => expect(clock.sleepers()).toBe(1));
    clock.advance(500);
  }
  await started;
  expect(directory.byToken(token('a'))?.uid).toBe('a');

  const never = setUp(Number.MAX_SAFE_INTEGER);
  const waiting = never.directory.start();
  await vi.waitFor(() => expect(never.clock.sleepers()).toBe(1));
  await never.directory.stop();
  await waiting;
  await directory.stop();
});

test('a token that cannot be read keeps nobody else waiting', async () => {
  const clock = fakeClock();
  const failures = new Map([
    ['a', new AppError('unavailable', 'its key is not there')],
    ['b', new AppError('unprocessable', 'damaged')],
  ]);
  const asked: string[] = [];
  const directory = createDirectory({
    clock,
    log: silentLogger(),
    definitions: {
      secrets: async (uid) => {
        asked.push(uid);
        const failure = failures.get(uid);
        if (failure !== undefined) throw failure;
        return { token: token(uid), environment: {} };
      },
      watch: async (heard) => {
        for (const uid of ['a', 'b', 'c'])
          heard({ kind: 'put', stored: { ...stored(uid), name: `of-${uid}` } });
        return { stop: async () => undefined };
      },
    },
  });
  const started = directory.start();
  await vi.waitFor(() => expect(clock.sleepers()).toBe(1));
  clock.advance(500);
  await vi.waitFor(() => expect(directory.byToken(token('c'))?.name).toBe('of-c'));
  failures.delete('a');
  await vi.waitFor(() => expect(clock.sleepers()).toBe(1));
  clock.advance(500);
  await started;
  expect(directory.byToken(token('a'))?.name).toBe('of-a');
  expect(asked.filter((uid) => uid === 'b')).toHaveLength(1);
  await directory.stop();
});

test('only the right pair and the right token prove somebody', async () => {
  const { directory } = setUp();
  await directory.start();
  const authenticate = createAuthenticate({
    adminUser: 'oscar',
    adminPassword: new Secret('pass:word'),
    directory,
  });
  const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`;
  const both = ['basic', 'bearer'] as const;
  expect(authenticate(basic('oscar:pass:word'), both)).toEqual({ kind: 'admin', name: 'oscar' });
  expect(authenticate(basic('oscar:pass:word'), ['bearer'])).toBeUndefined();
  expect(authenticate(basic('oscar:pass'), both)).toBeUndefined();
  expect(authenticate(basic('Oscar:pass:word'), both)).toBeUndefined();
  expect(authenticate(`Bearer ${token('a')}`, both)).toEqual({ kind: 'service', service: 'demo', uid: 'a' });
  expect(authenticate(`Bearer ${token('a')}`, ['basic'])).toBeUndefined();
  expect(authenticate(`Bearer ${token('b')}`, both)).toBeUndefined();
  expect(authenticate(`Bearer ${token('a')}x`, both)).toBeUndefined();
  expect(authenticate(undefined, both)).toBeUndefined();
  await directory.stop();
});
