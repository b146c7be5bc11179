import { AppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import type {
  Collected,
  CollectionOutcome,
  CollectionState,
  RegistryKeeper,
  RegistryProbe,
} from '../clean-up-ports.ts';
import {
  phasesToUndo,
  wholeCollectionMs,
  type CollectionLimits,
  type CollectionPhase,
} from '../domain/collection-phases.ts';
import type { BuildQueue } from '../ports.ts';
import { holdCollection, type Held } from './hold-collection.ts';

export interface CollectorDeps {
  readonly queue: Pick<BuildQueue, 'pause' | 'resume' | 'depth'>;
  /** Undefined: the registry is not ours to collect. */
  readonly keeper: RegistryKeeper | undefined;
  readonly probe: RegistryProbe;
  readonly state: CollectionState;
  /** Gives tags to images that are in use without one, while the registry still takes them. */
  readonly protect: (signal: AbortSignal) => Promise<void>;
  readonly limits: CollectionLimits;
  /** Milliseconds after which a process that collected and is silent counts as lost. @default 30000 */
  readonly leaseMs?: number;
  readonly clock: Clock;
  /** Lower-case hex of that many random bytes. */
  readonly random: { hex(bytes: number): string };
  readonly log: Logger;
}

export type CollectionResult =
  | CollectionOutcome
  /** No keeper is configured. */
  | { readonly state: 'unsupported' }
  /** Another process collects. */
  | { readonly state: 'busy'; readonly phase: CollectionPhase }
  /** Another process took it over, since this one was silent too long; it undoes what was begun. */
  | { readonly state: 'lost'; readonly phase: CollectionPhase };

export interface Collector {
  /**
   * Collects the registry's garbage, or undoes what a lost process left and leaves it at that. Steps that fail are undone and told of; builds begin again in any case.
   * @throws AppError `unavailable` while the state cannot be read
   */
  collect(signal: AbortSignal): Promise<CollectionResult>;
  /** Undoes what a lost process left: to be called at start and every `leaseMs`. */
  recover(signal: AbortSignal): Promise<'nothing' | 'busy' | 'undone' | 'failed'>;
}

const defaultLeaseMs = 30_000;
const pollMs = 250;

/**
 * Garbage collection of the registry as a state machine that outlives its process: each phase is stored before it begins, so that whoever finds it knows what to
 * undo. One at a time over all processes.
 */
export function createCollector(deps: CollectorDeps): Collector {
  const { keeper, state } = deps;
  const terms = {
    leaseMs: deps.leaseMs ?? defaultLeaseMs,
    totalMs: wholeCollectionMs(deps.limits),
  };
  return {
    collect: async (signal) => {
      if (keeper === undefined) return { state: 'unsupported' };
      const holder = deps.random.hex(16);
      const claim = await state.claim(holder, terms);
      if (claim.kind === 'busy') return { state: 'busy', phase: claim.phase };
      if (claim.kind === 'left') return undoLeft(deps, holder, claim.phase, signal);
      return whole(deps, keeper, holder, signal);
    },
    recover: async (signal) => {
      const holder = deps.random.hex(16);
      const claim = await state.takeOver(holder, terms);
      if (claim.kind === 'busy') return 'busy';
      if (claim.kind !== 'left') return 'nothing';
      const result = await undoLeft(deps, holder, claim.phase, signal);
      return result.state === 'undone' ? 'undone' : 'failed';
    },
  };
}

/** One collection from its first phase to its end. */
async function whole(
  deps: CollectorDeps,
  keeper: RegistryKeeper,
  holder: string,
  signal: AbortSignal,
): Promise<CollectionResult> {
  const held = holdCollection(deps, holder, deps.leaseMs ?? defaultLeaseMs);
  const both = AbortSignal.any([signal, held.lost]);
  const reached: { phase: CollectionPhase } = { phase: 'pausing' };
  try {
    let outcome: CollectionOutcome;
    try {
      outcome = await forward(deps, keeper, held, reached, both);
    } catch (error) {
      if (held.isTaken()) return { state: 'lost', phase: reached.phase };
      deps.log.warn({ err: error, phase: reached.phase }, 'collecting the registry failed, it is undone');
      outcome = { state: 'failed', phase: reached.phase, why: messageOf(error) };
    }
    const undone = await backToWork(deps, held, reached);
    if (held.isTaken()) return { state: 'lost', phase: reached.phase };
    const last: CollectionOutcome = undone ?? outcome;
    // What could not be undone stays stored: whoever looks next tries again.
    if (undone === undefined) await deps.state.finish(holder, last);
    deps.log.info({ outcome: last }, 'collection of the registry is over');
    return last;
  } finally {
    await held.release();
  }
}

/** Up to the collection itself. */
async function forward(
  deps: CollectorDeps,
  keeper: RegistryKeeper,
  held: Held,
  reached: { phase: CollectionPhase },
  signal: AbortSignal,
): Promise<CollectionOutcome> {
  const { queue, limits } = deps;
  // `claim` stored the first one.
  await queue.pause();
  await advance(held, reached, 'draining', signal);
  const left = await drained(deps, signal);
  if (left > 0) {
    const seconds = Math.round(limits.drainMs / 1000);
    return { state: 'gave_up', why: `${left} builds were still under way after ${seconds} seconds` };
  }
  await deps.protect(signal);
  await advance(held, reached, 'locking', signal);
  await bounded(keeper.readOnly, limits.switchMs, signal);
  // Collecting under a registry that takes pushes loses layers: its own word counts, not that of a command that ended well.
  await settled(deps, 'read-only', signal);
  await advance(held, reached, 'collecting', signal);
  const collected: Collected = await bounded(keeper.collect, limits.collectMs, signal);
  return { state: 'done', ...collected };
}

/** Not without a state: if this process died now, nobody would undo it. */
async function advance(...step: Parameters<typeof next>): Promise<void> {
  if ((await next(...step)) === 'gone') {
    throw new AppError('unavailable', 'The state of the collection is gone: Redis was emptied.');
  }
}

async function next(
  held: Held,
  reached: { phase: CollectionPhase },
  phase: CollectionPhase,
  signal: AbortSignal,
): Promise<'held' | 'gone'> {
  signal.throwIfAborted();
  // Said before it is stored: if the answer is lost, it may be.
  reached.phase = phase;
  return held.enter(phase);
}

/** Waits until no build is under way. @returns how many are at the end of the patience */
async function drained(deps: CollectorDeps, signal: AbortSignal): Promise<number> {
  const until = deps.clock.monotonic() + deps.limits.drainMs;
  for (;;) {
    signal.throwIfAborted();
    const { active } = await deps.queue.depth();
    if (active === 0 || deps.clock.monotonic() >= until) return active;
    await deps.clock.sleep(pollMs, signal);
  }
}

/** @returns what is wrong where it could not be done; undefined: registry and builds are at work */
async function backToWork(
  deps: CollectorDeps,
  held: Held,
  reached: { phase: CollectionPhase },
): Promise<CollectionOutcome | undefined> {
  // Not by the caller's signal: a process that is stopped must not leave a read-only registry behind.
  const signal = held.lost;
  for (const phase of phasesToUndo(reached.phase)) {
    try {
      await next(held, reached, phase, signal);
      if (phase === 'resuming') await deps.queue.resume();
      else {
        await bounded(keeperOf(deps).writable, deps.limits.switchMs, signal);
        await settled(deps, 'writable', signal);
      }
    } catch (error) {
      deps.log.error(
        { err: error, phase },
        'the registry or the queue of builds could not be brought back to work, this is tried again',
      );
      return { state: 'failed', phase, why: messageOf(error) };
    }
  }
  return undefined;
}

/** Where a lost process of another configuration left a read-only registry behind, there may be none. */
function keeperOf({ keeper }: CollectorDeps): RegistryKeeper {
  if (keeper !== undefined) return keeper;
  throw new AppError(
    'unavailable',
    'A collection was left behind, but nothing says how the registry is made writable: set SLUICE_REGISTRY_WRITABLE_COMMAND with the others, or SLUICE_REGISTRY_WORKLOAD.',
  );
}

/** Waits until the registry itself says so. */
async function settled(
  deps: CollectorDeps,
  wanted: 'read-only' | 'writable',
  signal: AbortSignal,
): Promise<void> {
  const until = deps.clock.monotonic() + deps.limits.switchMs;
  for (;;) {
    signal.throwIfAborted();
    const took = await deps.probe.takesPushes().catch((error: unknown) => messageOf(error));
    if (took === (wanted === 'writable')) return;
    if (deps.clock.monotonic() >= until) {
      const why = typeof took === 'string' ? took : `it ${took ? 'takes' : 'refuses'} pushes`;
      throw new AppError('unavailable', `The registry was made ${wanted}, but is not: ${why}`);
    }
    await deps.clock.sleep(pollMs, signal);
  }
}

async function undoLeft(
  deps: CollectorDeps,
  holder: string,
  phase: CollectionPhase,
  signal: AbortSignal,
): Promise<CollectionResult> {
  signal.throwIfAborted();
  deps.log.warn({ phase }, 'the process that collected the registry was lost, what it began is undone');
  const held = holdCollection(deps, holder, deps.leaseMs ?? defaultLeaseMs);
  try {
    const failure = await backToWork(deps, held, { phase });
    if (held.isTaken()) return { state: 'lost', phase };
    if (failure !== undefined) return failure;
    await deps.state.finish(holder, { state: 'undone', phase });
    return { state: 'undone', phase };
  } finally {
    await held.release();
  }
}

async function bounded<T>(
  work: (signal: AbortSignal) => Promise<T>,
  ms: number,
  signal: AbortSignal,
): Promise<T> {
  return work(AbortSignal.any([signal, AbortSignal.timeout(ms)]));
}
