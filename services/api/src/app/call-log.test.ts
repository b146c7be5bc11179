import { expect, test } from 'vitest';
import { createCallLog, type AnsweredCall } from './call-log.ts';

const call = (changes: Partial<AnsweredCall> = {}): AnsweredCall => ({
  at: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  status: 201,
  ms: 14.219292,
  clientIp: '127.0.0.1',
  method: 'POST',
  path: '/job/demo',
  user: 'oscar',
  ...changes,
});

test('a line as OSCAR’s execution logger writes it', () => {
  const log = createCallLog();
  log.add(call());
  const raw =
    '[GIN-EXECUTIONS-LOGGER] 2026-01-02T03:04:05.678Z | 201 |   14.219292ms | 127.0.0.1 | POST    /job/demo | oscar';
  expect(log.list({ timestamps: false })).toEqual({
    logs: [
      {
        timestamp: '2026-01-02T03:04:05.678Z',
        status: 201,
        latency: '14.219292ms',
        client_ip: '127.0.0.1',
        method: 'POST',
        path: '/job/demo',
        user: 'oscar',
        raw,
      },
    ],
  });
  expect(log.list({ timestamps: true }).logs[0]?.raw).toBe(`2026-01-02T03:04:05.678Z ${raw}`);
});

test('only the last are kept, oldest first', () => {
  const log = createCallLog(3);
  const paths = () => log.list({ timestamps: false }).logs.map(({ path }) => path);
  expect(paths()).toEqual([]);
  for (const path of ['a', 'b', 'c']) log.add(call({ path }));
  expect(paths()).toEqual(['a', 'b', 'c']);
  for (const path of ['d', 'e']) log.add(call({ path }));
  expect(paths()).toEqual(['c', 'd', 'e']);
});

test('a path keeps to its field and to its length', () => {
  const log = createCallLog();
  log.add(call({ path: `/job/a|200|${'x'.repeat(10_000)}` }));
  const [entry] = log.list({ timestamps: false }).logs;
  expect(entry?.raw.split('|')).toHaveLength(6);
  expect(entry?.path.length).toBeLessThan(600);
});
