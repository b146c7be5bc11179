/** A service with runners that no call is in. */
export interface IdleRunners<Key> {
  readonly key: Key;
  /** Its runners, idle or not. */
  readonly runners: number;
  /** Of these, what calls need: those that wait and those in hand. */
  readonly calls: number;
  readonly minScale: number;
  /** Milliseconds for which no call wanted one. */
  readonly idleMs: number;
}

/** Milliseconds that a runner is spared: between two calls it is idle for a moment. */
export const graceMs = 1000;

/**
 * Whose runner is ended for work that waits: of what is above `min_scale` the one that is idle longest; then of what is kept by
 * `min_scale` one of the service that has the most, so that each keeps one as long as that goes.
 */
export function chooseIdle<Key>(services: readonly IdleRunners<Key>[], spareMs: number): Key | undefined {
  const idle = services.filter((one) => one.runners > one.calls && one.idleMs >= spareMs);
  const [above] = idle
    .filter((one) => one.runners > one.minScale)
    .sort((a, b) => b.idleMs - a.idleMs || b.runners - a.runners);
  const [kept] = idle.sort((a, b) => b.runners - a.runners || b.idleMs - a.idleMs);
  return (above ?? kept)?.key;
}

/** Milliseconds that a call without any runner lets others go first, and then has room kept for it. */
export const patienceMs = 2000;
export const keptMs = 20_000;

/**
 * Whether room that frees is kept for who has waited so long: a big service would starve behind small ones for ever. Only for a time, and
 * again after as long without, since room enough may never come while others work.
 */
export function isRoomKept(waitedMs: number): boolean {
  const phase = waitedMs % (2 * keptMs);
  return phase >= patienceMs && phase < keptMs;
}
