import type { LiveMessage } from '@sluice/shared/bus';
import { fakeClock } from '@sluice/shared/testing';
import { describe, expect, test } from 'vitest';
import { followRuns } from './follow-runs.ts';
import { createRunFeed, type RunFeed } from './run-feed.ts';

interface Heard {
  readonly feed: RunFeed;
  say(count: number): void;
  /** What was said for a while was missed. */
  miss(): void;
}

async function hear(limits: { maxEvents?: number; maxChars?: number }, process = 'ab12'): Promise<Heard> {
  let listener: ((message: LiveMessage) => void) | undefined;
  let gap: (() => void) | undefined;
  const feed = createRunFeed({
    ...limits,
    clock: fakeClock(),
    random: { hex: () => process },
    bus: {
      listen: async (_names, given, onGap) => {
        listener = given;
        gap = onGap;
        return { stop: async () => undefined };
      },
    },
  });
  await feed.open();
  let said = 0;
  return {
    feed,
    miss: () => gap?.(),
    say: (count) => {
      for (let index = 0; index < count; index += 1) {
        said += 1;
        const payload = {
          run_id: `run-${said}`,
          service: 'demo',
          service_uid: 'uid',
          state: 'queued',
          attempt: 1,
          source: 'job',
          at: 1_767_323_045_678,
        };
        listener?.({ id: `${said}`, name: 'runs.queued', key: 'demo', payload });
      }
    },
  };
}

const idOf = (text: string | undefined) => /"run_id":"([^"]+)"/.exec(text ?? '')?.[1];

describe('the feed of run events', () => {
  test('gives what came after a position that it knows', async () => {
    const { feed, say } = await hear({});
    say(2);
    const seq = feed.seqOf(feed.positionOf(1));
    expect(seq).toBe(1);
    expect(feed.after(1)).toMatchObject({ runId: 'run-2', seq: 2 });
    expect(feed.after(2)).toBeUndefined();
    expect(feed.seqOf(feed.positionOf(2))).toBe(2);
  });

  test('knows no position of another process, of the future, or before what it keeps', async () => {
    const { feed, say } = await hear({ maxEvents: 3 });
    const other = await hear({}, 'cd34');
    say(10);
    other.say(9);
    expect(feed.seqOf(other.feed.positionOf(9))).toBeUndefined();
    expect(feed.seqOf(feed.positionOf(11))).toBeUndefined();
    expect(feed.seqOf(feed.positionOf(6))).toBeUndefined();
    expect(feed.seqOf(feed.positionOf(7))).toBe(7);
    expect(feed.after(6)).toBe('lost');
    expect(feed.seqOf('')).toBeUndefined();
  });

  test('keeps no more characters than it may, and always the latest', async () => {
    const { feed, say } = await hear({ maxChars: 250 });
    say(100);
    expect(feed.after(98)).toMatchObject({ runId: 'run-99' });
    expect(feed.after(97)).toBe('lost');
    const tiny = await hear({ maxChars: 1 });
    tiny.say(3);
    expect(tiny.feed.after(2)).toMatchObject({ runId: 'run-3' });
  });

  test('a reader that falls behind what is kept is told, and goes on with the latest', async () => {
    const { feed, say } = await hear({ maxEvents: 5 });
    const stop = new AbortController();
    const following = { signal: stop.signal, heartbeatMs: 15_000 };
    const stream = followRuns(() => true, undefined, { feed, clock: fakeClock() }, following);
    const next = async () => String((await stream.next()).value);
    expect(await next()).toBe('retry: 2000\nid: ab12.0\n\n');
    say(3);
    expect(idOf(await next())).toBe('run-1');
    say(50);
    expect(await next()).toContain('event: reset\nid: ab12.53\n');
    say(1);
    expect(idOf(await next())).toBe('run-54');
    stop.abort();
    expect((await stream.next()).done).toBe(true);
  });

  test('a reader is told when the bus was away, once, and goes on with what comes after', async () => {
    const { feed, say, miss } = await hear({});
    const stop = new AbortController();
    const following = { signal: stop.signal, heartbeatMs: 15_000 };
    const stream = followRuns(() => true, undefined, { feed, clock: fakeClock() }, following);
    const next = async () => String((await stream.next()).value);
    await next();
    say(1);
    expect(idOf(await next())).toBe('run-1');
    const told = next();
    miss();
    expect(await told).toContain('event: reset\nid: ab12.2\n');
    say(1);
    expect(idOf(await next())).toBe('run-2');
    stop.abort();
    await stream.next();
  });

  test('a position before the gap is known, and what is lost after it is said', async () => {
    const { feed, say, miss } = await hear({ maxEvents: 3 });
    say(2);
    const before = feed.positionOf(2);
    miss();
    say(2);
    expect(feed.seqOf(before)).toBe(2);
    expect(feed.after(1)).toMatchObject({ runId: 'run-2' });
    expect(feed.after(2)).toBe('lost');
    expect(feed.after(3)).toMatchObject({ runId: 'run-3' });
    say(10);
    expect(feed.after(2)).toBe('lost');
    expect(feed.after(feed.last() - 1)).toMatchObject({ runId: 'run-14' });
  });
});
