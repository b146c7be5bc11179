import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '@sluice/shared/adapters';
import { activeStates, finalStates, runStates, type RunState } from '@sluice/shared/contracts';
import type { RunLedger, Transition, TransitionResult } from '@sluice/shared/stores';
import { newRun } from '@sluice/shared/testing';
import { ledgerOf, open, tempDatabase } from './sqlite-fixture.ts';

let path: string;
let remove: () => Promise<void>;
let db: Database;
let ledger: RunLedger;
beforeAll(async () => {
  ({ path, remove } = await tempDatabase());
  db = open(path);
  ledger = ledgerOf(db);
});
afterAll(async () => {
  await db.close();
  await remove();
});

interface ModelRun {
  readonly id: string;
  state: RunState;
  attempt: number;
}

/** A change as a scheduler could ask for it, right or wrong. */
interface Step {
  readonly run: number;
  readonly from: readonly RunState[];
  readonly to: RunState;
  readonly attempt: number | undefined;
  readonly next: number | undefined;
  readonly slots: number | undefined;
}

const step = fc.record<Step>({
  run: fc.nat({ max: 3 }),
  from: fc.subarray([...runStates], { minLength: 1 }),
  to: fc.constantFrom(...runStates),
  attempt: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined }),
  next: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined }),
  slots: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
});

const isActive = (state: RunState): boolean => (activeStates as readonly RunState[]).includes(state);
const isFinal = (state: RunState): boolean => (finalStates as readonly RunState[]).includes(state);

/** What the port says about one change, after all those before it. */
function expected(runs: readonly ModelRun[], { run, from, to, attempt, next, slots }: Step): string {
  const it = runs[run];
  if (it === undefined) return 'not_found';
  if (isFinal(it.state) || !from.includes(it.state)) return 'state';
  if (attempt !== undefined && attempt !== it.attempt) return 'attempt';
  const others = runs.filter((other) => other !== it && isActive(other.state)).length;
  if (to === 'starting' && slots !== undefined && others >= slots) return 'no_slot';
  it.state = to;
  it.attempt = next ?? it.attempt;
  return 'applied';
}

const change = (runs: readonly ModelRun[], { run, from, to, attempt, next, slots }: Step): Transition => ({
  id: runs[run]?.id ?? 'unknown',
  from,
  to,
  ...(attempt === undefined ? {} : { attempt }),
  ...(next === undefined ? {} : { set: { attempt: next } }),
  ...(slots === undefined ? {} : { slots }),
});

const word = (result: TransitionResult): string => (result.applied ? 'applied' : result.reason);

async function claimed(count: number): Promise<ModelRun[]> {
  const runs = Array.from({ length: count }, () => newRun());
  await ledger.claim(runs);
  return runs.map(({ id }) => ({ id, state: 'queued', attempt: 1 }));
}

/** Frees the slots that a case took, for the next one. */
async function finishAll(runs: readonly ModelRun[]): Promise<void> {
  for (const { id } of runs) await ledger.transition({ id, from: runStates, to: 'cancelled' });
}

describe('any sequence of changes', () => {
  it('goes as the port says, one at a time or all at once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 25 }),
        fc.boolean(),
        async (steps, atOnce) => {
          const runs = await claimed(3);
          const before = await ledger.counts();
          const changes = steps.map((it) => change(runs, it));
          const results: string[] = [];
          // Changes that are asked for in one step of the event loop are made in that order, in one transaction.
          if (atOnce)
            results.push(...(await Promise.all(changes.map(async (it) => ledger.transition(it)))).map(word));
          else for (const it of changes) results.push(word(await ledger.transition(it)));
          expect(results).toEqual(steps.map((it) => expected(runs, it)));
          const stored = await Promise.all(runs.map(async ({ id }) => ledger.get(id)));
          expect(stored.map((run) => [run?.state, run?.attempt])).toEqual(
            runs.map((run) => [run.state, run.attempt]),
          );
          const after = await ledger.counts();
          for (const state of runStates) {
            const moved = runs.filter((run) => run.state === state).length - (state === 'queued' ? 3 : 0);
            expect(after[state]).toBe(before[state] + moved);
          }
          await finishAll(runs);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('lets exactly one of two that exclude each other happen, and never exceeds the slots', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 10 }),
        async (slots, count) => {
          const runs = await claimed(count);
          const contenders = runs.flatMap(({ id }) => [
            { id, from: ['queued'], to: 'starting', slots } satisfies Transition,
            { id, from: ['queued'], to: 'starting', slots } satisfies Transition,
            { id, from: ['queued'], to: 'cancelled' } satisfies Transition,
          ]);
          const order =
            fc.sample(fc.shuffledSubarray(contenders, { minLength: contenders.length }), 1)[0] ?? [];
          const results = await Promise.all(order.map(async (it) => ledger.transition(it)));
          for (const { id } of runs) {
            const mine = results.filter((result, index) => result.applied && order[index]?.id === id);
            expect(mine).toHaveLength(1);
          }
          const { starting, running } = await ledger.counts();
          expect(starting + running).toBeLessThanOrEqual(slots);
          await finishAll(runs);
        },
      ),
      { numRuns: 50 },
    );
  });
});
