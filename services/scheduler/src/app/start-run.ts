import type { Delivery } from '@sluice/shared/bus';
import { RunStart, type AttemptOutcome, type AttemptPlan, type Run } from '@sluice/shared/contracts';
import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, RunLedger, StoredDefinition } from '@sluice/shared/stores';
import { attemptTraceparent, queueSpan, type Logger, type Tracer } from '@sluice/shared/telemetry';
import { Compile } from 'typebox/compile';
import type { Executor, Reservation } from '../ports.ts';
import type { DefinitionCache } from './definitions.ts';
import type { SchedulerMetrics } from './metrics.ts';
import type { Settler } from './settle.ts';

export interface StartDeps {
  readonly ledger: RunLedger;
  readonly definitions: DefinitionStore;
  readonly cache: DefinitionCache;
  readonly executor: Executor;
  readonly settler: Settler;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly metrics: Pick<SchedulerMetrics, 'started'>;
  readonly slots: number;
  readonly defaultTimeoutMs: number;
}

const nothingDone = (): Pick<AttemptOutcome, 'script_started' | 'outputs'> => ({
  script_started: false,
  outputs: [],
});

/**
 * Starts the attempt that a delivery names and settles the delivery: acknowledged once the ledger holds the start,
 * given back when there is no slot. From then on the ledger and the executor are the truth, not the message.
 */
export type StartRun = (delivery: Delivery, reservation: Reservation) => Promise<Run | undefined>;

export function createStartRun(deps: StartDeps): StartRun {
  const startMessage = Compile(RunStart);
  return async (delivery, reservation) => {
    let handedOver = false;
    try {
      if (!startMessage.Check(delivery.message.payload)) {
        throw new AppError('invalid_input', 'A start message is not of its contract.');
      }
      const message = delivery.message.payload;
      const wait = Math.min(60_000, (message.not_before ?? 0) - deps.clock.now());
      if (wait > 0) {
        await delivery.retry('waiting before the next attempt', wait);
        return undefined;
      }
      const run = await take(deps, delivery, message);
      if (run === undefined) return undefined;
      handedOver = true;
      await execute(deps, run.run, run.stored, reservation);
      return run.run;
    } catch (error) {
      await giveBack(deps, delivery, error, handedOver);
      return undefined;
    } finally {
      if (!handedOver) reservation.release();
    }
  };
}

/** The atomic `queued → starting` change, then the acknowledgement. Undefined where there is nothing to execute. */
async function take(
  deps: StartDeps,
  delivery: Delivery,
  message: RunStart,
): Promise<{ run: Run; stored: StoredDefinition } | undefined> {
  const stored = await deps.cache.get(message.service);
  if (stored === undefined) {
    await cancelOrphan(deps, message.run_id);
    await delivery.ack();
    return undefined;
  }
  const change = await deps.ledger.transition({
    id: message.run_id,
    from: ['queued'],
    attempt: message.attempt,
    to: 'starting',
    slots: deps.slots,
    set: { service_version: stored.version },
    message: startSentence(deps.executor, stored),
  });
  if (!change.applied) {
    if (change.reason === 'no_slot') await delivery.release();
    else await delivery.ack();
    return undefined;
  }
  await delivery.ack();
  const { run } = change;
  queueSpan(deps.tracer, run, deps.clock.now());
  deps.metrics.started(run);
  const unwanted = reasonNotToRun(run, stored);
  if (unwanted !== undefined) {
    await deps.ledger.transition({
      id: run.id,
      from: ['starting'],
      attempt: run.attempt,
      to: 'cancelled',
      message: unwanted,
    });
    return undefined;
  }
  return { run, stored };
}

function reasonNotToRun(run: Run, stored: StoredDefinition): string | undefined {
  if (run.service_uid !== stored.uid) return 'the service was deleted';
  return run.cancel_requested_at === undefined ? undefined : 'cancelled before it started';
}

function startSentence(executor: Executor, stored: StoredDefinition): string {
  const ignored = executor.ignores(stored.definition);
  const first = `${executor.kind} executor, version ${stored.version} of the service`;
  return [first, ...ignored].join('; ');
}

async function cancelOrphan(deps: StartDeps, runId: string): Promise<void> {
  await deps.ledger.transition({
    id: runId,
    from: ['queued'],
    to: 'cancelled',
    message: 'the service was deleted',
  });
}

async function execute(
  deps: StartDeps,
  run: Run,
  stored: StoredDefinition,
  reservation: Reservation,
): Promise<void> {
  const ref = { run_id: run.id, attempt: run.attempt };
  try {
    const secrets = await deps.definitions.secrets(stored.uid, stored.version);
    await deps.executor.start(planFor(run, stored, secrets, deps.defaultTimeoutMs), reservation, run);
  } catch (error) {
    reservation.release();
    const failure = { code: 'not_started', message: `could not be started: ${messageOf(error)}` };
    const outcome: AttemptOutcome = { ...nothingDone(), result: 'lost', failure };
    await deps.settler.finish(ref, outcome);
    if (!isAppError(error)) throw error;
  }
}

/** All that an executor needs for one attempt. */
export function planFor(
  run: Run,
  stored: StoredDefinition,
  secrets: AttemptPlan['secrets'] | undefined,
  defaultTimeoutMs: number,
): AttemptPlan {
  const { definition } = stored;
  const seconds = definition.sluice?.timeout;
  return {
    run_id: run.id,
    attempt: run.attempt,
    service_uid: stored.uid,
    service_version: stored.version,
    definition,
    script: definition.script ?? '',
    secrets: secrets ?? { token: '', environment: {} },
    event: run.event,
    ...(run.input === undefined ? {} : { input: run.input }),
    traceparent: attemptTraceparent(run),
    hop: run.hop,
    timeout_ms: seconds === undefined ? defaultTimeoutMs : seconds * 1000,
  };
}

async function giveBack(
  deps: StartDeps,
  delivery: Delivery,
  error: unknown,
  handedOver: boolean,
): Promise<void> {
  const fields = { err: error, message_id: delivery.message.id };
  if (handedOver) {
    deps.log.error(fields, 'attempt could not be started');
    return;
  }
  if (isAppError(error) && error.retry === 'never') {
    deps.log.warn(fields, 'start message refused');
    await delivery.deadLetter(error.message);
    return;
  }
  deps.log.warn(fields, 'start put off');
  await delivery.retry(messageOf(error));
}
