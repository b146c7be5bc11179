import type { RunnerCall, RunnerState } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import { createCallQueue, type CallQueue, type Queued } from '../../domain/call-queue.ts';
import { queueFull, waitedTooLong, type Obstacle } from '../../domain/call-obstacle.ts';
import type { ReadyRunner } from '../../domain/pick-runner.ts';
import type { RunnerClient, RunnerReply } from '../../ports.ts';
import { createAlarm, type Alarm } from './alarm.ts';
import type { CallMetrics } from './metrics.ts';
import { createRunnerUses, type RunnerUses } from './runner-uses.ts';

/** A call on its way to a runner. */
export interface PendingCall extends Queued {
  readonly wire: RunnerCall;
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
  /** Monotonic milliseconds. */
  readonly arrivedAt: number;
}

/** What became of a call that was started. */
export interface PerformedCall {
  readonly reply: Exclude<RunnerReply, { kind: 'refused' }>;
  /** From the start to the head of the answer. */
  readonly seconds: number;
}

/** Calls of one service: those that wait, in the order of arrival, and those that runners have. */
export interface ServiceCalls {
  /** @throws AppError `limit_reached`, `unavailable`; the signal's reason */
  perform(call: PendingCall): Promise<PerformedCall>;
  /** Looks again: something is known that was not. */
  look(): void;
  waiting(): number;
  active(): number;
}

export interface ServiceCallsDeps {
  readonly service: string;
  readonly state: () => RunnerState | undefined;
  /** Why calls of the service are not to wait, where that is so. */
  readonly obstacle: () => Obstacle | undefined;
  readonly client: Pick<RunnerClient, 'invoke'>;
  readonly limits: { readonly queue: number; readonly waitMs: number };
  /** 0 to 1. */
  readonly random: () => number;
  /** `waiting` or `active` has changed. */
  readonly onChange: () => void;
  /** Calls were refused although runners are wanted. */
  readonly onMissed: () => void;
  readonly metrics: CallMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A call that waits, and whom to tell. */
interface Waiting extends PendingCall {
  readonly resolve: (performed: PerformedCall) => void;
  readonly reject: (error: unknown) => void;
}

interface Lane {
  readonly deps: ServiceCallsDeps;
  readonly queue: CallQueue<Waiting>;
  readonly uses: RunnerUses;
  readonly alarm: Alarm;
  active: number;
}

export function createServiceCalls(deps: ServiceCallsDeps): ServiceCalls {
  const lane: Lane = {
    deps,
    queue: createCallQueue(deps.limits.queue),
    uses: createRunnerUses(deps.random),
    alarm: createAlarm(deps.clock),
    active: 0,
  };
  return {
    perform: (call) => enter(lane, call),
    look: () => {
      look(lane);
    },
    waiting: () => lane.queue.size(),
    active: () => lane.active,
  };
}

function enter(lane: Lane, pending: PendingCall): Promise<PerformedCall> {
  const { promise, resolve, reject } = Promise.withResolvers<PerformedCall>();
  const call: Waiting = { ...pending, resolve, reject };
  const { signal } = pending;
  if (signal.aborted) return Promise.reject(signal.reason);
  if (!lane.queue.add(call)) return Promise.reject(queueFull(lane.deps.limits.queue));
  count(lane, { waiting: 1 });
  signal.addEventListener(
    'abort',
    () => {
      if (!lane.queue.remove(call)) return;
      count(lane, { waiting: -1 });
      reject(signal.reason);
      look(lane);
    },
    { once: true },
  );
  look(lane);
  return promise;
}

/** Starts what can be started, ends what is not to wait or has waited too long, and sees to it that it is called again. */
function look(lane: Lane): void {
  const { deps, queue, uses, alarm } = lane;
  const { clock } = deps;
  const runners = deps.state()?.runners ?? [];
  uses.keep(runners);
  refuseAll(lane);
  while (queue.size() > 0) {
    const runner = uses.take(runners, clock.monotonic());
    const call = runner === undefined ? undefined : queue.shift();
    if (runner === undefined || call === undefined) break;
    void send(lane, call, runner);
  }
  expire(lane);
  const first = queue.first();
  if (first === undefined) {
    alarm.clear();
    return;
  }
  const again = uses.nextTry(runners, clock.monotonic()) ?? Infinity;
  alarm.set(Math.min(first.arrivedAt + deps.limits.waitMs, again), () => {
    look(lane);
  });
}

function refuseAll(lane: Lane): void {
  const { deps, queue } = lane;
  const obstacle = queue.size() === 0 ? undefined : deps.obstacle();
  if (obstacle === undefined) return;
  const calls = queue.takeAll();
  count(lane, { waiting: -calls.length });
  if (obstacle.wanted) deps.onMissed();
  for (const call of calls) call.reject(obstacle.error);
}

function expire(lane: Lane): void {
  const { deps, queue } = lane;
  const { waitMs } = deps.limits;
  for (;;) {
    const call = queue.first();
    if (call === undefined || call.arrivedAt + waitMs > deps.clock.monotonic()) return;
    queue.shift();
    count(lane, { waiting: -1 });
    call.reject(waitedTooLong(waitMs, deps.state()));
  }
}

/** Gives a call to a runner that was taken for it. */
async function send(lane: Lane, call: Waiting, runner: ReadyRunner): Promise<void> {
  const { deps, uses } = lane;
  const { clock, metrics } = deps;
  count(lane, { waiting: -1, active: 1 });
  const startedAt = clock.monotonic();
  const done = (): void => {
    uses.done(runner.id);
    count(lane, { active: -1 });
    look(lane);
  };
  let reply: RunnerReply;
  try {
    reply = await deps.client.invoke({ runner, call: call.wire, body: call.body, signal: call.signal });
  } catch (error) {
    call.reject(error);
    done();
    return;
  }
  if (reply.kind === 'refused') {
    sendBack(lane, call, runner, reply);
    return;
  }
  const seconds = (clock.monotonic() - startedAt) / 1000;
  metrics.waited((startedAt - call.arrivedAt) / 1000);
  metrics.performed(seconds);
  call.resolve({ reply, seconds });
  // The runner has the call in hand until the last byte of its answer.
  if (reply.kind === 'answered' && !reply.body.closed) reply.body.once('close', done);
  else done();
}

/** Nothing was started: the call waits again, in the place that it had. */
function sendBack(
  lane: Lane,
  call: Waiting,
  runner: ReadyRunner,
  { why, message }: Extract<RunnerReply, { kind: 'refused' }>,
): void {
  const { deps, uses, queue } = lane;
  uses.refused(runner.id, why === 'busy' ? 'busy' : 'away', deps.clock.monotonic());
  if (why === 'denied') {
    deps.log.error({ service: deps.service, runner: runner.id, message }, 'a runner does not take our token');
  }
  if (call.signal.aborted) {
    call.reject(call.signal.reason);
    count(lane, { active: -1 });
  } else {
    queue.putBack(call);
    count(lane, { waiting: 1, active: -1 });
  }
  look(lane);
}

function count(lane: Lane, change: { readonly waiting?: number; readonly active?: number }): void {
  const { metrics, onChange } = lane.deps;
  if (change.waiting !== undefined) metrics.waiting(change.waiting);
  if (change.active !== undefined) {
    lane.active += change.active;
    metrics.active(change.active);
  }
  onChange();
}
