import type { StorageGrant } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { createStorageKeys } from './storage-keys.ts';

const clockOf = fakeClock;
const minute = 60_000;

function deskOf(clock: ReturnType<typeof fakeClock>, lastsMs: number | undefined) {
  let given = 0;
  let away = false;
  const grant = (): StorageGrant => {
    given += 1;
    return {
      endpoint: 'http://s3',
      region: 'eu',
      access_key: `key-${given}`,
      secret_key: 'secret',
      session_token: `token-${given}`,
      verify: true,
      ...(lastsMs === undefined ? {} : { expires_at: clock.now() + lastsMs }),
    };
  };
  const renew = async (): Promise<StorageGrant> => {
    if (away) throw new AppError('unavailable', 'away');
    return Promise.resolve(grant());
  };
  return {
    keys: createStorageKeys({ first: grant(), renew, clock }),
    given: () => given,
    leave: (isAway: boolean) => {
      away = isAway;
    },
  };
}

test('keys are renewed once, by the first request near their end, and others go on with the old ones', async () => {
  const clock = clockOf();
  const desk = deskOf(clock, 15 * minute);
  clock.advance(9 * minute);
  expect(await desk.keys()).toEqual({ accessKey: 'key-1', secretKey: 'secret', sessionToken: 'token-1' });
  clock.advance(2 * minute);
  const [a, b] = await Promise.all([desk.keys(), desk.keys()]);
  expect([a.accessKey, b.accessKey]).toEqual(['key-2', 'key-1']);
  clock.advance(20 * minute);
  const ended = await Promise.all([desk.keys(), desk.keys()]);
  expect(ended.map(({ accessKey }) => accessKey)).toEqual(['key-3', 'key-3']);
  expect(desk.given()).toBe(3);
});

test('keys without an end are never renewed', async () => {
  const clock = clockOf();
  const desk = deskOf(clock, undefined);
  clock.advance(10_000 * minute);
  expect((await desk.keys()).accessKey).toBe('key-1');
});

test('old keys do while there are no new ones, and are said to have ended when they have', async () => {
  const clock = clockOf();
  const desk = deskOf(clock, 15 * minute);
  desk.leave(true);
  clock.advance(11 * minute);
  expect((await desk.keys()).accessKey).toBe('key-1');
  clock.advance(5 * minute);
  await expect(desk.keys()).rejects.toThrow('have ended');
  desk.leave(false);
  expect((await desk.keys()).accessKey).toBe('key-2');
});
