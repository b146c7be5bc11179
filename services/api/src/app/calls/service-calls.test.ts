import { Readable } from 'node:stream';
import type { RunnerState } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { eventually, fakeClock, type FakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import type { Obstacle } from '../../domain/call-obstacle.ts';
import type { RunnerReply } from '../../ports.ts';
import { createCallMetrics } from './metrics.ts';
import { createServiceCalls, type PerformedCall, type ServiceCalls } from './service-calls.ts';

interface Sent {
  readonly call: string;
  readonly runner: string;
  reply(reply: RunnerReply): void;
}

interface Table {
  readonly calls: ServiceCalls;
  readonly clock: FakeClock;
  readonly sent: Sent[];
  readonly missed: () => number;
  obstacle: Obstacle | undefined;
  ready(...ids: string[]): void;
  call(name: string, signal?: AbortSignal): Promise<PerformedCall>;
}

const busy: RunnerReply = { kind: 'refused', why: 'busy', message: '429' };
const away: RunnerReply = { kind: 'refused', why: 'unreachable', message: 'ECONNREFUSED' };
const lost: RunnerReply = { kind: 'lost', message: 'closed' };
const answered = (body = Readable.from(['ok'])): RunnerReply => ({
  kind: 'answered',
  result: 'succeeded',
  retryAfterSeconds: undefined,
  length: undefined,
  body,
});

/** Calls to runners that a test answers by hand. */
function table(limits = { queue: 100, waitMs: 60_000 }): Table {
  const clock = fakeClock();
  const sent: Sent[] = [];
  let state: RunnerState | undefined;
  let missed = 0;
  let turn = 0;
  const made: Table = {
    clock,
    sent,
    missed: () => missed,
    obstacle: undefined,
    calls: createServiceCalls({
      service: 'demo',
      state: () => state,
      obstacle: () => made.obstacle,
      client: {
        invoke: ({ call, runner, signal }) => {
          const { promise, resolve, reject } = Promise.withResolvers<RunnerReply>();
          signal.addEventListener('abort', () => {
            reject(signal.reason);
          });
          sent.push({ call: call.call_id, runner: runner.id, reply: resolve });
          return promise;
        },
      },
      limits,
      random: () => 1,
      onChange: () => undefined,
      onMissed: () => {
        missed += 1;
      },
      metrics: createCallMetrics(createMetrics()),
      clock,
      log: silentLogger(),
    }),
    ready: (...ids) => {
      const runners = ids.map((id) => ({
        id,
        state: 'ready' as const,
        url: `http://${id}`,
        service_version: 1,
      }));
      state = {
        service: 'demo',
        service_uid: 'u',
        state: 'ready',
        reason: '',
        desired: 1,
        limit: 2,
        runners,
        since: 0,
      };
      made.calls.look();
    },
    call: (name, signal = new AbortController().signal) => {
      turn += 1;
      const wire = { call_id: name, traceparent: '', timeout_ms: 1, method: 'POST', path: '/', query: '' };
      return made.calls.perform({
        turn,
        arrivedAt: clock.monotonic(),
        signal,
        body: new Uint8Array(0),
        wire: { ...wire, headers: {} },
      });
    },
  };
  return made;
}

const names = (sent: readonly Sent[]): readonly string[] => sent.map(({ call }) => call);
const codeOf = async (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'performed',
    (error: unknown) => (error instanceof AppError ? error.code : error),
  );

test('calls wait for a runner and go in the order of arrival, one at a time on each', async () => {
  const { calls, call, ready, sent } = table();
  const all = ['a', 'b', 'c', 'd'].map((name) => call(name));
  expect([calls.waiting(), calls.active()]).toEqual([4, 0]);
  ready('r1', 'r2');
  expect([names(sent), calls.waiting(), calls.active()]).toEqual([['a', 'b'], 2, 2]);
  sent[1]?.reply(lost);
  await all[1];
  expect(names(sent)).toEqual(['a', 'b', 'c']);
  expect(sent[2]?.runner).toBe('r2');
  sent[0]?.reply(lost);
  await all[0];
  expect(names(sent)).toEqual(['a', 'b', 'c', 'd']);
});

test('a runner keeps its call until the last byte of the answer', async () => {
  const { calls, call, ready, sent } = table();
  ready('r1');
  const first = call('a');
  void call('b');
  sent[0]?.reply(answered());
  const { reply } = await first;
  expect([reply.kind, calls.active(), names(sent)]).toEqual(['answered', 1, ['a']]);
  if (reply.kind === 'answered') reply.body.resume();
  await eventually('the next call starts', () => sent.length === 2);
});

test('whoever was refused is the first to be tried elsewhere, and never tried again once it was lost', async () => {
  const { call, ready, sent, clock } = table();
  const [a, b] = [call('a'), call('b')];
  ready('r1', 'r2');
  expect(names(sent)).toEqual(['a', 'b']);
  void call('c');
  sent[0]?.reply(busy);
  sent[1]?.reply(lost);
  await b;
  await eventually('the refused call is sent again', () => sent.length === 3);
  expect([sent[2]?.call, sent[2]?.runner]).toEqual(['a', 'r2']);
  sent[2]?.reply(away);
  await eventually('it waits for a runner that may be tried', () => clock.sleepers() > 0);
  clock.advance(4);
  await eventually('it is sent to the runner that was busy', () => sent.length === 4);
  expect([sent[3]?.call, sent[3]?.runner]).toEqual(['a', 'r1']);
  sent[3]?.reply(lost);
  expect((await a).reply.kind).toBe('lost');
});

test('past the queue’s limit and past the longest wait calls are refused', async () => {
  const { calls, call, clock } = table({ queue: 2, waitMs: 1000 });
  const first = codeOf(call('a'));
  clock.advance(600);
  const second = codeOf(call('b'));
  expect(await codeOf(call('c'))).toBe('limit_reached');
  clock.advance(400);
  expect(await first).toBe('unavailable');
  expect(calls.waiting()).toBe(1);
  clock.advance(600);
  expect(await second).toBe('unavailable');
  expect(calls.waiting()).toBe(0);
});

test('a caller that goes leaves the queue, or ends what the runner has in hand', async () => {
  const { calls, call, ready, sent } = table();
  const [gone, waiting] = [new AbortController(), new AbortController()];
  const reason = new AppError('cancelled', 'gone');
  ready('r1');
  const first = codeOf(call('a', gone.signal));
  const second = codeOf(call('b', waiting.signal));
  void call('c');
  waiting.abort(reason);
  expect(await second).toBe('cancelled');
  gone.abort(reason);
  expect(await first).toBe('cancelled');
  await eventually('the next call starts', () => sent.length === 2);
  expect([names(sent), calls.waiting()]).toEqual([['a', 'c'], 0]);
  expect(await codeOf(call('d', AbortSignal.abort(reason)))).toBe('cancelled');
});

test('where no runner can come, those that wait are told at once, and that runners are wanted', async () => {
  const made = table();
  const waiting = codeOf(made.call('a'));
  made.obstacle = { error: new AppError('unavailable', 'no image'), wanted: true };
  made.calls.look();
  expect(await waiting).toBe('unavailable');
  expect(await codeOf(made.call('b'))).toBe('unavailable');
  expect([made.missed(), made.calls.waiting(), made.sent.length]).toEqual([2, 0, 0]);
});
