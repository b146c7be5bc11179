import { expect, it } from 'vitest';
import { parseRun, type WireRun } from '../api/wire.ts';
import { linesOf } from './log.ts';
import { createPauses, deadlineAfter, waitForRun } from './wait.ts';

/** A clock that only sleeping moves. */
function manualClock(): { now: () => number; sleep: (ms: number) => Promise<void>; slept: number[] } {
  let time = 0;
  const slept: number[] = [];
  return {
    now: () => time,
    sleep: (ms) => {
      time += ms;
      slept.push(ms);
      return Promise.resolve();
    },
    slept,
  };
}

const run = (state: string): WireRun => parseRun({ id: 'r', service: 's', state, timeline: [] });

it('asks often at first, then less often, until the run has ended', async () => {
  const clock = manualClock();
  const states = ['queued', 'queued', 'running', 'running', 'running', 'succeeded'];
  const seen: string[] = [];
  const ended = await waitForRun(
    {
      api: { run: () => Promise.resolve(run(states.shift() ?? '')) },
      sleep: clock.sleep,
      deadline: deadlineAfter(60_000, clock.now),
      onState: ({ state }) => {
        seen.push(state);
        return Promise.resolve();
      },
    },
    'r',
  );
  expect(ended.state).toBe('succeeded');
  expect(seen).toEqual(['queued', 'running', 'succeeded']);
  expect(clock.slept).toEqual([100, 150, 225, 337.5, 506.25]);
});

it('gives up at the deadline, and asks once more just then', async () => {
  const clock = manualClock();
  let asked = 0;
  const deps = {
    api: {
      run: () => {
        asked += 1;
        return Promise.resolve(run('running'));
      },
    },
    sleep: clock.sleep,
    deadline: deadlineAfter(300, clock.now),
  };
  await expect(waitForRun(deps, 'r')).rejects.toMatchObject({
    exitCode: 7,
    message: 'The run r is still running.',
  });
  expect(clock.slept).toEqual([100, 150, 50]);
  expect(asked).toBe(4);
});

it('never pauses for more than two seconds', async () => {
  const clock = manualClock();
  const pause = createPauses(deadlineAfter(Number.POSITIVE_INFINITY, clock.now), clock.sleep);
  for (let index = 0; index < 20; index += 1) await pause();
  expect(Math.max(...clock.slept)).toBe(2000);
});

it('makes lines of pieces, and cuts one that never ends', async () => {
  async function* pieces(...parts: (string | number[])[]): AsyncGenerator<Uint8Array> {
    for (const part of parts) yield Buffer.from(part as string);
  }
  const lines = async (...parts: (string | number[])[]): Promise<string[]> => {
    const all: string[] = [];
    for await (const line of linesOf(pieces(...parts), 5)) all.push(line);
    return all;
  };
  expect(await lines('a\nb', 'c\r\n', '\nd')).toEqual(['a', 'bc', '', 'd']);
  expect(await lines([0xc3], [0xa4, 0x0a])).toEqual(['ä']);
  expect(await lines('abcdefgh', 'ijk')).toEqual(['abcde']);
  expect(await lines()).toEqual([]);
});
