import type { Backlog } from '../bus/index.ts';
import type { Clock } from '../lifecycle/index.ts';

/** What one process knows of the messages under one key. */
export interface KeyState {
  readonly token: string;
  key: string;
  /** Whether the consumer was made or found. */
  known: boolean;
  inHand: number;
  /** When messages that this process put off come again (monotonic), in order. */
  readonly putOff: number[];
  /** Messages that a fetch did not give: others have them in hand, or put them off. Not counted for a while. */
  hidden: Hidden | undefined;
  /** Messages that became ready, as far as this process was told; only differences count. */
  arrivals: number;
  usedAt: number;
}

interface Hidden {
  readonly until: number;
  readonly waitMs: number;
  /** Of the arrivals, when the fetch began. */
  readonly since: number;
  /** How many; not known before the next count. */
  count: number | undefined;
}

/**
 * Turns the server's counts, which are of all messages that are not done, into how many could be fetched now. What this process has in hand
 * or put off it knows; what others have shows when a fetch comes back short: that many are left out for a while, longer each time.
 */
export interface Waiting {
  of(token: string, key: string): KeyState;
  keyOf(token: string): string | undefined;
  learn(token: string, key: string | undefined): void;
  /** A message of this key was stored, or is ready again. */
  arrived(token: string): void;
  /** A fetch gave fewer than were asked for. `since`: the arrivals when it began. */
  exhausted(state: KeyState, got: number, since: number): void;
  putOff(state: KeyState, until: number): void;
  ready(counts: ReadonlyMap<string, number>): readonly Backlog[];
  close(): void;
}

const firstWaitMs = 250;
const longestWaitMs = 8000;
/** Keys are forgotten after this long without a message. */
const forgetMs = 600_000;

export function createWaiting(clock: Clock, hint: () => void): Waiting {
  const states = new Map<string, KeyState>();
  const alarm = createWakeUps(clock, hint);
  const of = (token: string, key: string): KeyState => {
    const state = states.get(token) ?? fresh(token, key);
    states.set(token, state);
    state.usedAt = clock.monotonic();
    return state;
  };
  return {
    of,
    keyOf: (token) => states.get(token)?.key,
    learn: (token, key) => {
      if (key !== undefined) of(token, key);
    },
    arrived: (token) => {
      const state = states.get(token);
      if (state !== undefined) state.arrivals += 1;
    },
    exhausted: (state, got, since) => {
      const now = clock.monotonic();
      const waitMs = got > 0 ? firstWaitMs : waitAfter(state.hidden, now);
      const until = now + waitMs;
      state.hidden = { until, waitMs, since, count: undefined };
      alarm.at(until);
    },
    putOff: (state, until) => {
      state.putOff.push(until);
      state.putOff.sort((a, b) => a - b);
      alarm.at(until);
    },
    ready: (counts) => {
      const now = clock.monotonic();
      const backlog: Backlog[] = [];
      for (const [token, count] of counts) {
        const state = of(token, states.get(token)?.key ?? token);
        const waiting = readyOf(state, count, now);
        if (waiting > 0) backlog.push({ key: state.key, waiting });
      }
      for (const [token, state] of states) {
        if (!counts.has(token)) forget(states, token, state, now);
      }
      return backlog;
    },
    close: alarm.close,
  };
}

/** Longer each time that waiting was in vain. */
function waitAfter(before: Hidden | undefined, now: number): number {
  if (before === undefined) return firstWaitMs;
  return before.until > now ? before.waitMs : Math.min(before.waitMs * 2, longestWaitMs);
}

function fresh(token: string, key: string): KeyState {
  return { token, key, known: false, inHand: 0, putOff: [], hidden: undefined, arrivals: 0, usedAt: 0 };
}

function forget(states: Map<string, KeyState>, token: string, state: KeyState, now: number): void {
  state.hidden = undefined;
  if (state.inHand > 0) return;
  state.putOff.length = 0;
  if (now - state.usedAt > forgetMs) states.delete(token);
}

/** How many of the messages under a key could be fetched now, as far as this process can tell. */
export function readyOf(state: KeyState, count: number, now: number): number {
  while ((state.putOff[0] ?? Infinity) <= now) {
    state.putOff.shift();
    state.arrivals += 1;
  }
  const notOurs = Math.max(0, count - state.inHand - state.putOff.length);
  const { hidden } = state;
  if (hidden === undefined) return notOurs;
  // The fetch that came back short said that none of these can be had, but for those that are new since.
  hidden.count ??= Math.max(0, notOurs - (state.arrivals - hidden.since));
  hidden.count = Math.min(hidden.count, notOurs);
  return hidden.until <= now ? notOurs : notOurs - hidden.count;
}

/** Calls back at given times, with one timer. */
function createWakeUps(clock: Clock, call: () => void): { at(time: number): void; close(): void } {
  let next = Infinity;
  let timer = new AbortController();
  let closed = false;
  const times: number[] = [];
  const arm = async (time: number): Promise<void> => {
    if (closed) return;
    next = time;
    timer.abort();
    timer = new AbortController();
    const { signal } = timer;
    try {
      await clock.sleep(Math.max(1, time - clock.monotonic()), signal);
    } catch {
      return;
    }
    next = Infinity;
    const now = clock.monotonic();
    const later = times.filter((other) => other > now);
    times.splice(0, times.length, ...later);
    call();
    if (later.length > 0) void arm(Math.min(...later));
  };
  return {
    at: (time) => {
      times.push(time);
      if (time < next) void arm(time);
    },
    close: () => {
      closed = true;
      timer.abort();
    },
  };
}
