/**
 * How a floor is used. Floors stand in the store's clock. One that lies ahead of that clock was set while the clock was
 * wrong; it must not hide what comes until the clock is there again, so the earliest time seen since stands in for it.
 * @param stood the floor that was in effect before; undefined at first
 */
export function effectiveFloor(floor: number, now: number, stood: number | undefined): number {
  return floor <= now ? floor : Math.min(stood ?? now, now);
}

/**
 * Whether an object changed so lately that it may still be in the making. A time far ahead of the clock is that of a clock
 * that was wrong, and no reason to wait until then.
 */
export function isUnsettled(changedAt: number, now: number, settleMs: number): boolean {
  return Math.abs(now - changedAt) < settleMs;
}

/** A moment in both clocks. */
export interface Moment {
  /** Epoch milliseconds of the store. */
  readonly wall: number;
  /** Milliseconds of this process that only grow. */
  readonly monotonic: number;
}

/** Whether the store's clock went on between two moments as time did: not set, not jumped, no machine asleep. */
export function isSteady(before: Moment, after: Moment): boolean {
  const passed = after.monotonic - before.monotonic;
  return Math.abs(after.wall - before.wall - passed) <= Math.max(1000, passed / 10);
}
