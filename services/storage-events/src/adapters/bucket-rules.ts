import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath, Leases } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { mapLimited } from '../limited.ts';
import type { BucketRules, NotificationHandlers, NotificationSource } from '../ports.ts';

export interface RuledNotificationsDeps {
  /** Where the notifications come in that the rules cause. */
  readonly source: NotificationSource;
  readonly rules: BucketRules;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds after which it is looked whether all rules are still there. @default 60000 */
  readonly checkEveryMs?: number;
}

const lease = 'storage-events-rules';
const leaseMs = 15_000;
const turnMs = 5000;
const bucketsAtOnce = 8;
/** How long a replica waits for the one that sets the rules, before it lists without them and tries again. */
const patienceMs = 5000;
const lookMs = 200;

/**
 * A source whose S3 server tells of what rules on buckets say: one replica keeps a rule for each input path, the others wait for it. No rule of
 * somebody else's is touched, and none stays that no definition needs.
 */
export function createRuledNotifications(deps: RuledNotificationsDeps): NotificationSource {
  const { source } = deps;
  const state: State = {
    wanted: undefined,
    done: new Map(),
    failing: new Map(),
    stopping: new AbortController(),
  };
  const current: { keeping?: Promise<void> } = {};
  return {
    ...source,
    start: async (handlers) => {
      await source.start(handlers);
      current.keeping = keep(deps, state, handlers);
    },
    setPrefixes: async (paths) => {
      await source.setPrefixes(paths);
      state.wanted = byBucket(paths);
      await follow(deps, state);
    },
    check: async () => {
      await source.check?.();
      const [first] = state.failing.values();
      if (first !== undefined) throw new AppError('unavailable', first);
    },
    stop: async () => {
      state.stopping.abort();
      await current.keeping;
      await deps.leases.release(lease);
      await source.stop();
    },
  };
}

interface State {
  /** Prefixes of each bucket; undefined until definitions have been read. */
  wanted: ReadonlyMap<string, readonly string[]> | undefined;
  /** What has been set, or seen to be there, last. */
  readonly done: Map<string, string>;
  /** Buckets whose rules cannot be set, with a sentence for people. */
  readonly failing: Map<string, string>;
  readonly stopping: AbortController;
}

function byBucket(paths: readonly BucketPath[]): ReadonlyMap<string, readonly string[]> {
  const buckets = new Map<string, string[]>();
  for (const { bucket, prefix } of paths) buckets.set(bucket, [...(buckets.get(bucket) ?? []), prefix]);
  return new Map([...buckets].map(([bucket, prefixes]) => [bucket, prefixes.toSorted()]));
}

/** @throws AppError when a rule that is wanted cannot be set, or is not there in time; the others have been dealt with by then */
async function follow(deps: RuledNotificationsDeps, state: State): Promise<void> {
  const changed = changedBuckets(state);
  if (changed.length === 0) return;
  const isOurs = await deps.leases.hold(lease, leaseMs);
  await mapLimited(changed, bucketsAtOnce, async (bucket) =>
    attempt(deps, state, bucket, async (prefixes) => {
      if (isOurs) await deps.rules.set(bucket, prefixes);
      else await waitForRules(deps, state, bucket, prefixes);
    }),
  );
  const first = changed.map((bucket) => state.failing.get(bucket)).find((reason) => reason !== undefined);
  if (first !== undefined) throw new AppError('unavailable', first);
}

function changedBuckets({ wanted = new Map(), done }: State): readonly string[] {
  const buckets = new Set([...wanted.keys(), ...done.keys()]);
  return [...buckets].filter((bucket) => done.get(bucket) !== keyOf(wanted.get(bucket)));
}

/** No key has a zero in it. */
function keyOf(prefixes: readonly string[] | undefined): string {
  return (prefixes ?? []).join('\0');
}

/** Notes how it ended; never rejects. */
async function attempt(
  deps: RuledNotificationsDeps,
  state: State,
  bucket: string,
  work: (prefixes: readonly string[]) => Promise<void>,
): Promise<void> {
  const prefixes = state.wanted?.get(bucket);
  try {
    await work(prefixes ?? []);
  } catch (error) {
    // Nothing to watch. It gets its rule with the next check once it is there, and is listed until then.
    const isGone = isAppError(error, 'not_found');
    if (!isGone) {
      if (!state.failing.has(bucket))
        deps.log.warn({ err: error, bucket }, 'a notification rule cannot be kept');
      state.failing.set(bucket, messageOf(error));
      return;
    }
  }
  if (state.failing.delete(bucket)) deps.log.warn({ bucket }, 'the notification rule is kept again');
  if (prefixes === undefined) state.done.delete(bucket);
  else state.done.set(bucket, keyOf(prefixes));
}

/** @throws AppError `unavailable` when they are not there in time */
async function waitForRules(
  { rules, clock }: RuledNotificationsDeps,
  { stopping }: State,
  bucket: string,
  prefixes: readonly string[],
): Promise<void> {
  const until = clock.monotonic() + patienceMs;
  while (!(await rules.covers(bucket, prefixes))) {
    if (clock.monotonic() >= until || stopping.signal.aborted) {
      throw new AppError(
        'unavailable',
        `The bucket ${bucket} has no notification rule yet for a new input path.`,
      );
    }
    await clock.sleep(lookMs);
  }
}

/** Keeps the lease where this replica has it, and all rules with it. */
async function keep(
  deps: RuledNotificationsDeps,
  state: State,
  handlers: NotificationHandlers,
): Promise<void> {
  const { clock, leases } = deps;
  const everyMs = deps.checkEveryMs ?? 60_000;
  let held = false;
  let checkedAt = clock.monotonic();
  for (;;) {
    await clock.sleep(Math.min(turnMs, everyMs), state.stopping.signal).catch(() => undefined);
    if (state.stopping.signal.aborted) return;
    const holds = await leases.hold(lease, leaseMs);
    const isNew = holds && !held;
    held = holds;
    if (!holds || state.wanted === undefined || (!isNew && clock.monotonic() - checkedAt < everyMs)) continue;
    try {
      await mend(deps, state, handlers, isNew);
    } catch (error) {
      deps.log.warn({ err: error }, 'notification rules cannot be checked now, they are at the next turn');
    }
    checkedAt = clock.monotonic();
  }
}

/** Puts back what somebody removed, and has its paths listed; at first also looks for rules that nobody needs any more. */
async function mend(
  deps: RuledNotificationsDeps,
  state: State,
  handlers: NotificationHandlers,
  everywhere: boolean,
): Promise<void> {
  const { rules, log } = deps;
  const others = everywhere ? await rules.buckets() : [];
  const buckets = new Set([...(state.wanted?.keys() ?? []), ...state.done.keys(), ...others]);
  await mapLimited([...buckets], bucketsAtOnce, async (bucket) => {
    if (state.stopping.signal.aborted) return;
    await attempt(deps, state, bucket, async (prefixes) => {
      if ((await rules.set(bucket, prefixes)) === 'same') return;
      log.warn(
        { bucket, prefixes: prefixes.length },
        'notification rules were not as they should be and are set anew',
      );
      for (const prefix of prefixes) handlers.onGap({ bucket, prefix });
    });
  });
}
