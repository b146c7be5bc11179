import { describe, expect, it } from 'vitest';
import { maxChecks, maxCheckText, type ComponentCheck } from '../contracts/index.ts';
import { systemClock, type Clock } from '../lifecycle/index.ts';
import { silentLogger } from '../telemetry/index.ts';
import { createMessageCodec } from '../bus/message-codec.ts';
import type { OutgoingMessage } from '../bus/index.ts';
import {
  announceChecks,
  bounded,
  clockChecks,
  createGrowth,
  createLooks,
  doubt,
  fault,
  fine,
  isAtLeast,
  outboxLook,
  seldom,
} from './index.ts';

describe('the bounds of what is said', () => {
  it('keep what is wrong and cut what is long', () => {
    const many = Array.from({ length: 2 * maxChecks }, (_, i) => fine(`n${i}`, 'x'));
    const kept = bounded([...many, fault('bad', 'y'.repeat(5000), 'z'.repeat(5000))]);
    expect(kept).toHaveLength(maxChecks);
    expect(kept[0]).toMatchObject({ name: 'bad', ok: false });
    expect(kept[0]?.message).toHaveLength(maxCheckText);
    expect(kept[0]?.mend).toHaveLength(maxCheckText);
  });

  it('never cut a character in half', () => {
    const text = `${'x'.repeat(maxCheckText - 2)}😀😀`;
    expect(bounded([fine('n', text)])[0]?.message.isWellFormed()).toBe(true);
  });

  it('are those of the contract', () => {
    const checks = bounded(
      Array.from({ length: 99 }, () => doubt('n'.repeat(99), 'm'.repeat(9999), 'd'.repeat(9999))),
    );
    const payload = { component: 'api', instance: 'i', version: '1', started_at: 1, checks };
    const codec = createMessageCodec();
    expect(() => codec.encodeHint({ name: 'component.checks', payload })).not.toThrow();
    const more = { ...payload, checks: [...checks, fine('n', 'm')] };
    expect(() => codec.encodeHint({ name: 'component.checks', payload: more })).toThrow(/checks/);
  });
});

describe('the clock', () => {
  const date = 'Fri, 02 Jan 2026 03:04:05 GMT';
  const at = Date.parse(date);
  it.each([
    [at, at + 900, 'ok'],
    [at + 3000, at + 4000, 'ok'],
    [at - 10_000, at - 9000, 'warning'],
    [at + 20_000, at + 21_000, 'warning'],
    [at - 600_000, at - 599_000, 'error'],
    [at + 600_000, at + 600_100, 'error'],
    // An answer that took long is no skew.
    [at - 600_000, at + 600_000, 'ok'],
  ])('asked at %i and answered at %i is %s', (asked, answered, wanted) => {
    const [check] = clockChecks('clock', 'the server', { date, asked, answered });
    expect(check?.ok === true ? 'ok' : check?.severity).toBe(wanted);
  });

  it('is not judged without a date', () => {
    expect(clockChecks('clock', 'it', { date: undefined, asked: 0, answered: 0 })).toEqual([]);
  });
});

describe('looks', () => {
  const clock: Clock = { ...systemClock, sleep: (_, signal) => systemClock.sleep(20, signal) };

  it('turn what they throw, and what never comes, into faults beside what others found', async () => {
    let begun = 0;
    const hangs = new Promise<readonly ComponentCheck[]>(() => undefined);
    const look = createLooks(
      [
        { name: 'a', mend: 'x', look: async () => [fine('a', 'well')] },
        { name: 'b', mend: 'start b', look: async () => Promise.reject(new Error('gone')) },
        {
          name: 'c',
          mend: 'start c',
          look: async () => {
            begun += 1;
            return hangs;
          },
        },
      ],
      { clock },
    );
    const wanted = [
      { name: 'a', ok: true },
      { name: 'b', ok: false, severity: 'error', message: 'gone', mend: 'start b' },
      { name: 'c', ok: false, severity: 'error', message: 'No answer for 6 s.', mend: 'start c' },
    ];
    expect(await look()).toMatchObject(wanted);
    expect(await look()).toMatchObject(wanted);
    expect(begun).toBe(1);
  });
});

it('a process says at once what it finds, and again, also after the bus was away', async () => {
  const said: unknown[] = [];
  let away = true;
  const enough = Promise.withResolvers<void>();
  const announcing = announceChecks(
    {
      component: 'api',
      instance: 'i',
      version: '1',
      startedAt: 7,
      look: async () => [fine('a', 'well')],
    },
    {
      bus: {
        hint: ({ name, payload }) => {
          if (away) {
            away = false;
            throw new Error('away');
          }
          said.push([name, payload]);
          if (said.length === 2) enough.resolve();
        },
      },
      clock: { ...systemClock, sleep: (_, signal) => systemClock.sleep(5, signal) },
      log: silentLogger(),
    },
  );
  await enough.promise;
  await announcing.stop();
  expect(said[0]).toEqual([
    'component.checks',
    { component: 'api', instance: 'i', version: '1', started_at: 7, checks: [fine('a', 'well')] },
  ]);
});

it('versions are compared by their first two numbers', () => {
  const found = ['v1.34.4', '1.29.0+k3s1', 'v1.28.9', 'v2.0.0', 'main'].map((one) => isAtLeast(one, [1, 29]));
  expect(found).toEqual([true, true, false, true, undefined]);
});

it('growth is believed after it grew often enough, and forgotten when it shrinks', () => {
  const growth = createGrowth({ times: 2, apartMs: 10 });
  const seen = [5, 6, 7, 8, 3, 4].map((value, index) => growth.grows(value, index * 10));
  expect(seen).toEqual([false, false, true, true, false, false]);
  const hasty = createGrowth({ times: 2, apartMs: 10 });
  expect([1, 2, 3, 4].map((value, index) => hasty.grows(value, index))).toEqual([false, false, false, false]);
});

it('a look that is made seldom repeats itself, but not its failures', async () => {
  const time = { ms: 0 };
  const clock: Clock = { ...systemClock, monotonic: () => time.ms };
  let asked = 0;
  const look = seldom(
    {
      name: 'a',
      mend: 'm',
      look: async () => {
        asked += 1;
        if (asked === 2) throw new Error('gone');
        return [fine('a', `${asked}`)];
      },
    },
    1000,
    clock,
  );
  expect(await look.look()).toEqual([fine('a', '1')]);
  expect(await look.look()).toEqual([fine('a', '1')]);
  time.ms = 1000;
  await expect(look.look()).rejects.toThrow('gone');
  expect(await look.look()).toEqual([fine('a', '3')]);
});

it('an outbox whose oldest message stays is a warning', async () => {
  const time = { ms: 0 };
  const clock: Clock = { ...systemClock, monotonic: () => time.ms };
  let seq: string | undefined = '7';
  const message: OutgoingMessage = { id: 'm', name: 'runs.cancel', payload: {} };
  const look = outboxLook({
    clock,
    ledger: { readOutbox: async () => (seq === undefined ? [] : [{ seq, message }]) },
  });
  const isOk = async (): Promise<boolean | undefined> => (await look.look())[0]?.ok;
  expect(await isOk()).toBe(true);
  time.ms = 31_000;
  expect(await look.look()).toMatchObject([{ ok: false, severity: 'warning' }]);
  seq = '8';
  expect(await isOk()).toBe(true);
  time.ms = 90_000;
  seq = undefined;
  expect(await isOk()).toBe(true);
});
