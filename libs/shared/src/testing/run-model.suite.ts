import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { activeStates, finalStates, runStates, type RunState } from '../contracts/index.ts';
import type { RunLedger, Transition, TransitionResult } from '../stores/index.ts';
import { type MakeRunLedger, newRun, type RunLedgerHarness } from './run-ledger-harness.ts';

interface ModelRun {
  readonly id: string;
  readonly service: string;
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
  readonly serviceSlots: number | undefined;
}

const steps = fc.record<Step>({
  run: fc.nat({ max: 3 }),
  from: fc.subarray([...runStates], { minLength: 1 }),
  to: fc.constantFrom(...runStates),
  attempt: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined }),
  next: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined }),
  slots: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
  serviceSlots: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
});

const isActive = (state: RunState): boolean => (activeStates as readonly RunState[]).includes(state);
const isFinal = (state: RunState): boolean => (finalStates as readonly RunState[]).includes(state);

/** What the port says about one change, after all those before it. */
function expected(runs: readonly ModelRun[], step: Step): string {
  const { run, from, to, attempt, next, slots, serviceSlots } = step;
  const it = runs[run];
  if (it === undefined) return 'not_found';
  if (isFinal(it.state) || !from.includes(it.state)) return 'state';
  if (attempt !== undefined && attempt !== it.attempt) return 'attempt';
  const others = runs.filter((other) => other !== it && isActive(other.state));
  const siblings = others.filter((other) => other.service === it.service);
  if (to === 'starting' && others.length >= (slots ?? Infinity)) return 'no_slot';
  if (to === 'starting' && siblings.length >= (serviceSlots ?? Infinity)) return 'no_slot';
  it.state = to;
  it.attempt = next ?? it.attempt;
  return 'applied';
}

const change = (runs: readonly ModelRun[], step: Step): Transition => ({
  id: runs[step.run]?.id ?? 'unknown',
  from: step.from,
  to: step.to,
  ...(step.attempt === undefined ? {} : { attempt: step.attempt }),
  ...(step.next === undefined ? {} : { set: { attempt: step.next } }),
  ...(step.slots === undefined ? {} : { slots: step.slots }),
  ...(step.serviceSlots === undefined ? {} : { serviceSlots: step.serviceSlots }),
});

const word = (result: TransitionResult): string => (result.applied ? 'applied' : result.reason);

async function claimed(ledger: RunLedger, count: number): Promise<ModelRun[]> {
  const runs = Array.from({ length: count }, (_, index) => newRun({ service: `s${index % 2}` }));
  await ledger.claim(runs);
  return runs.map(({ id, service }) => ({ id, service, state: 'queued', attempt: 1 }));
}

/** Frees the slots that a case took, for the next one. */
async function finishAll(ledger: RunLedger, runs: readonly ModelRun[]): Promise<void> {
  for (const { id } of runs) await ledger.transition({ id, from: runStates, to: 'cancelled' });
}

/**
 * Any sequence of changes against a plain model. Not part of `describeRunLedger`: it takes a second.
 * @param inOrder changes asked for in one step of the event loop are made in that order
 */
export function describeRunModel(name: string, make: MakeRunLedger, inOrder: boolean): void {
  describe(`RunLedger, any sequence of changes: ${name}`, () => {
    let harness: RunLedgerHarness;
    let ledger: RunLedger;
    beforeAll(async () => {
      harness = await make();
      ({ ledger } = harness);
    });
    afterAll(async () => harness.close());

    it('goes as the port says, one at a time or all at once', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(steps, { minLength: 1, maxLength: 25 }),
          fc.boolean(),
          async (asked, atOnce) => {
            const runs = await claimed(ledger, 3);
            const before = await ledger.counts();
            const changes = asked.map((it) => change(runs, it));
            const results: string[] = [];
            if (atOnce && inOrder)
              results.push(
                ...(await Promise.all(changes.map(async (it) => ledger.transition(it)))).map(word),
              );
            else for (const it of changes) results.push(word(await ledger.transition(it)));
            expect(results).toEqual(asked.map((it) => expected(runs, it)));
            const stored = await Promise.all(runs.map(async ({ id }) => ledger.get(id)));
            expect(stored.map((run) => [run?.state, run?.attempt])).toEqual(
              runs.map((run) => [run.state, run.attempt]),
            );
            const after = await ledger.counts();
            for (const state of runStates) {
              const moved = runs.filter((run) => run.state === state).length - (state === 'queued' ? 3 : 0);
              expect(after[state]).toBe(before[state] + moved);
            }
            await finishAll(ledger, runs);
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
            const runs = await claimed(ledger, count);
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
            await finishAll(ledger, runs);
          },
        ),
        { numRuns: 50 },
      );
    });
  });
}
