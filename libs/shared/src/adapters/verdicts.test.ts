import { describe, expect, it } from 'vitest';
import type { ComponentCheck } from '../contracts/index.ts';
import {
  natsAccountChecks,
  natsConsumerChecks,
  natsServerChecks,
  natsStreamChecks,
  type NatsStreamFacts,
} from './nats-verdicts.ts';
import { ledgerCheck, parseRedisInfo, redisChecks } from './redis-verdicts.ts';
import { rulesCheck } from './s3-looks.ts';

/** `error NATS`, `warning NATS storage`; well: nothing. */
function bad(checks: readonly ComponentCheck[]): readonly string[] {
  for (const check of checks) expect(check.mend === undefined).toBe(check.ok);
  return checks.filter(({ ok }) => !ok).map(({ severity, name }) => `${severity} ${name}`);
}

describe('NATS', () => {
  it.each([
    [{ version: '2.15.2', jetstream: true }, []],
    [{ version: '2.10.0-beta', jetstream: true }, []],
    [{ version: '2.9.25', jetstream: true }, ['error NATS']],
    [{ version: '2.15.2', jetstream: false }, ['error NATS']],
    // A server that hides its version is no fault of it.
    [{ version: '', jetstream: true }, []],
  ])('server %j', (server, wanted) => {
    expect(bad(natsServerChecks(server))).toEqual(wanted);
  });

  it.each([
    [{ used: 5, reserved: 0, limit: -1 }, []],
    [{ used: 50, reserved: 80, limit: 100 }, []],
    [{ used: 5, reserved: 90, limit: 100 }, ['warning NATS storage']],
    [{ used: 100, reserved: 0, limit: 100 }, ['error NATS storage']],
    [{ used: 0, reserved: 0, limit: 0 }, ['error NATS storage']],
  ])('account %j', (account, wanted) => {
    expect(bad(natsAccountChecks(account))).toEqual(wanted);
  });

  const there: NonNullable<NatsStreamFacts['there']> = {
    differing: [],
    replicas: 3,
    lagging: [],
    messages: 1,
    maxMessages: 100,
    bytes: 1,
    maxBytes: 100,
    dropsOldest: false,
  };
  it.each([
    [there, []],
    [undefined, ['error NATS streams']],
    [{ ...there, replicas: 1, differing: ['num_replicas'] }, ['warning NATS replicas']],
    [{ ...there, differing: ['max_bytes'] }, ['warning NATS streams']],
    [{ ...there, lagging: ['n2'] }, ['warning NATS replicas']],
    [{ ...there, messages: 86 }, ['warning NATS streams']],
    [{ ...there, bytes: 100 }, ['error NATS streams']],
    [{ ...there, bytes: 100, dropsOldest: true }, []],
    [{ ...there, messages: 1_000_000, maxMessages: -1 }, []],
  ])('stream %j', (facts, wanted) => {
    expect(bad(natsStreamChecks([{ name: 'S', there: facts }], 3))).toEqual(wanted);
  });

  it('readers whose redeliveries only grow', () => {
    const calm = { stream: 'A', redelivered: 500, isGrowing: false };
    expect(bad(natsConsumerChecks([calm]))).toEqual([]);
    expect(bad(natsConsumerChecks([calm, { ...calm, isGrowing: true }]))).toEqual([
      'warning NATS redeliveries',
    ]);
  });
});

describe('Redis', () => {
  const MiB = 2 ** 20;
  const well = {
    redis_version: '7.4.1',
    role: 'master',
    loading: '0',
    aof_enabled: '1',
    aof_last_write_status: 'ok',
    maxmemory_policy: 'noeviction',
    maxmemory: `${100 * MiB}`,
    used_memory: `${10 * MiB}`,
  };
  it.each([
    [{}, []],
    [{ redis_version: '6.2.1' }, ['error Redis']],
    [{ role: 'slave' }, ['error Redis']],
    [{ loading: '1' }, ['warning Redis']],
    [{ aof_enabled: '0' }, ['warning Redis persistence']],
    [{ aof_last_write_status: 'err' }, ['error Redis persistence']],
    [{ maxmemory_policy: 'allkeys-lru' }, ['error Redis eviction']],
    [{ used_memory: `${81 * MiB}` }, ['warning Redis memory']],
    [{ used_memory: `${98 * MiB}` }, ['error Redis memory']],
    [
      { maxmemory: '0', total_system_memory: `${11 * MiB}`, used_memory: `${10 * MiB}` },
      ['warning Redis memory'],
    ],
  ])('that says %j', (change, wanted) => {
    const text = Object.entries({ ...well, ...change }).map(([name, value]) => `${name}:${value}`);
    expect(bad(redisChecks(parseRedisInfo(`# Server\r\n${text.join('\r\n')}\r\n`)))).toEqual(wanted);
  });

  it('that says next to nothing is not judged', () => {
    expect(bad(redisChecks(parseRedisInfo('')))).toEqual([]);
  });

  it('whose ledger is gone', () => {
    expect(bad([ledgerCheck(true), ledgerCheck(false)])).toEqual(['error run ledger']);
  });
});

it('buckets without a rule are named, five of them', () => {
  const facts = { name: 'S3 notifications', buckets: 9, arn: 'arn:minio:sqs::SLUICE:nats' };
  expect(bad([rulesCheck({ ...facts, without: [] })])).toEqual([]);
  const check = rulesCheck({ ...facts, without: ['a', 'b', 'c', 'd', 'e', 'f'] });
  expect(check.message).toContain('6 of 9');
  expect(check.message).toContain('a, b, c, d, e, …');
  expect(check.mend).toContain(facts.arn);
});
