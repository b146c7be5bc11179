import type { Delivery } from '@sluice/shared/bus';
import { RunStart, type AttemptOutcome, type Run } from '@sluice/shared/contracts';
import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, RunLedger, StoredDefinition } from '@sluice/shared/stores';
import { queueSpan, type Logger, type Tracer } from '@sluice/shared/telemetry';
import { Compile } from 'typebox/compile';
import type { Executor, Reservation } from '../ports.ts';
import type { DefinitionCache } from './definitions.ts';
import { keepLease } from './keep-lease.ts';
import type { SchedulerMetrics } from './metrics.ts';
import { planFor } from './plan.ts';
import type { Settler } from './settle.ts';
import type { UnderWay } from './under-way.ts';

export interface StartDeps {
  readonly ledger: RunLedger;
  readonly definitions: DefinitionStore;
  readonly cache: DefinitionCache;
  readonly executor: Executor;
  readonly settler: Settler;
  readonly underWay: UnderWay;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly metrics: Pick<SchedulerMetrics, 'started'>;
  readonly slots: number;
  readonly defaultTimeoutMs: number;
  /** Of the deliveries, milliseconds. */
  readonly leaseMs: number;
}

/** `refused`: there is no place after all, or a server is away; nothing of the service before a hint or a while. */
export type StartEnd = 'started' | 'nothing' | 'refused';

/**
 * Starts the attempt that a delivery names and settles the delivery. It is acknowledged only when the executor has the attempt: until then the message is the
 * attempt's second home, and whoever is given it again goes on from where this process died.
 * @param taken called as soon as the ledger counts the attempt, or will not
 */
export type StartRun = (
  delivery: Delivery,
  reservation: Reservation,
  taken?: () => void,
) => Promise<StartEnd>;

/** A start that takes longer is given to another replica: starting an attempt twice is one attempt. */
const longestStartMs = 60_000;

interface Attempt {
  readonly run: Run;
  readonly stored: StoredDefinition;
}

/** Room that is given back by whoever finds that it is not needed, unless an executor has it. */
interface HeldRoom {
  readonly reservation: Reservation;
  used(): void;
  release(): void;
}

function unlessUsed(reservation: Reservation): HeldRoom {
  let used = false;
  return {
    reservation,
    used: () => {
      used = true;
    },
    release: () => {
      if (!used) reservation.release();
    },
  };
}

export function createStartRun(deps: StartDeps): StartRun {
  const startMessage = Compile(RunStart);
  // Attempts that are between their ledger change and their executor, here.
  const inHand = new Set<string>();
  const start = async (
    message: RunStart,
    delivery: Delivery,
    reservation: HeldRoom,
    taken: () => void,
  ): Promise<StartEnd> => {
    const key = `${message.run_id}.${message.attempt}`;
    if (inHand.has(key)) {
      reservation.release();
      await delivery.retry('its start is under way', deps.leaseMs);
      return 'nothing';
    }
    inHand.add(key);
    try {
      const attempt = await take(deps, message);
      taken();
      if (typeof attempt !== 'string') await execute(deps, attempt, reservation);
      else reservation.release();
      if (attempt === 'refused') await delivery.release();
      else await delivery.ack();
      return typeof attempt === 'string' ? attempt : 'started';
    } finally {
      inHand.delete(key);
    }
  };
  return async (delivery, reservation, taken = () => undefined) => {
    const held = unlessUsed(reservation);
    const letGo = keepLease(delivery, deps.clock, { ms: deps.leaseMs, atMostMs: longestStartMs });
    try {
      if (!startMessage.Check(delivery.message.payload)) {
        throw new AppError('invalid_input', 'A start message is not of its contract.');
      }
      const message = delivery.message.payload;
      const wait = Math.min(60_000, (message.not_before ?? 0) - deps.clock.now());
      if (wait <= 0) return await start(message, delivery, held, taken);
      held.release();
      await delivery.retry('waiting before the next attempt', wait);
      return 'nothing';
    } catch (error) {
      held.release();
      return await giveBack(deps, delivery, error);
    } finally {
      letGo();
    }
  };
}

/** The atomic `queued → starting` change, or an attempt whose start another process left half done. */
async function take(deps: StartDeps, message: RunStart): Promise<Attempt | 'nothing' | 'refused'> {
  const stored = await deps.cache.get(message.service);
  if (stored === undefined) {
    await cancelOrphan(deps, message.run_id);
    return 'nothing';
  }
  const limit = stored.definition.sluice?.max_concurrency ?? 0;
  const change = await deps.ledger.transition({
    id: message.run_id,
    from: ['queued'],
    attempt: message.attempt,
    to: 'starting',
    slots: deps.slots,
    ...(limit === 0 ? {} : { serviceSlots: limit }),
    set: { service_version: stored.version },
    message: startSentence(deps.executor, stored),
  });
  if (!change.applied) {
    if (change.reason === 'no_slot') return 'refused';
    return change.run === undefined ? 'nothing' : resume(deps, change.run, message);
  }
  const { run } = change;
  deps.underWay.add(run);
  queueSpan(deps.tracer, run, deps.clock.now());
  deps.metrics.started(run);
  return unlessUnwanted(deps, { run, stored });
}

/** Whoever had this message before died between its ledger change and its start, unless the executor knows better. */
async function resume(deps: StartDeps, run: Run, message: RunStart): Promise<Attempt | 'nothing'> {
  if (run.state !== 'starting' || run.attempt !== message.attempt) return 'nothing';
  const known = await deps.executor.attempts();
  if (known.some((ref) => ref.run_id === run.id && ref.attempt === run.attempt)) return 'nothing';
  const stored = await deps.definitions.getVersion(run.service_uid, run.service_version ?? 0);
  // Its version has been pruned: the audit ends the attempt.
  if (stored === undefined) return 'nothing';
  deps.log.info({ run_id: run.id, attempt: run.attempt }, 'start that was left half done is done again');
  deps.underWay.add(run);
  return unlessUnwanted(deps, { run, stored });
}

async function unlessUnwanted(deps: StartDeps, attempt: Attempt): Promise<Attempt | 'nothing'> {
  const { run, stored } = attempt;
  const reason = reasonNotToRun(run, stored);
  if (reason === undefined) return attempt;
  const { run: ended } = await deps.ledger.transition({
    id: run.id,
    from: ['starting'],
    attempt: run.attempt,
    to: 'cancelled',
    message: reason,
  });
  if (ended !== undefined) deps.underWay.note(ended);
  return 'nothing';
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

async function execute(deps: StartDeps, { run, stored }: Attempt, room: HeldRoom): Promise<void> {
  try {
    const secrets = await deps.definitions.secrets(stored.uid, stored.version);
    await deps.executor.start(planFor(run, stored, secrets, deps.defaultTimeoutMs), room.reservation, run);
    room.used();
  } catch (error) {
    room.release();
    // A cluster that did not answer may have the attempt all the same. Whoever gets the message next starts it under the same name, which makes no second one of it;
    // where that takes too long the audit ends it.
    if (deps.executor.shared && isAppError(error, 'unavailable')) throw error;
    // Not tried until it works: while the outcome cannot be stored the message stays, and whoever gets it next tries the start again.
    await deps.settler.finish({ run_id: run.id, attempt: run.attempt }, refusedStart(error));
    if (!isAppError(error)) throw error;
    deps.log.warn({ err: error, run_id: run.id, attempt: run.attempt }, 'attempt could not be started');
  }
}

/** What can never be started fails the run; else another attempt may. */
function refusedStart(error: unknown): AttemptOutcome {
  const never = isAppError(error) && error.retry === 'never';
  return {
    result: never ? 'failed' : 'lost',
    script_started: false,
    outputs: [],
    failure: { code: 'not_started', message: `could not be started: ${messageOf(error)}` },
  };
}

async function giveBack(deps: StartDeps, delivery: Delivery, error: unknown): Promise<StartEnd> {
  const fields = { err: error, message_id: delivery.message.id };
  if (!isAppError(error)) {
    deps.log.error(fields, 'start failed');
    await delivery.retry(messageOf(error));
    return 'nothing';
  }
  if (error.retry === 'never') {
    deps.log.warn(fields, 'start message refused');
    await delivery.deadLetter(error.message);
    return 'nothing';
  }
  // A server that is away uses up no deliveries of what waits for it.
  deps.log.warn(fields, 'start put off');
  await delivery.release();
  return 'refused';
}
