import { afterEach, describe, expect, it } from 'vitest';
import { createMessageCodec } from '../../src/bus/message-codec.ts';
import type { OutgoingMessage } from '../../src/bus/index.ts';
import { runStartMessage } from '../../src/contracts/index.ts';
import { AppError } from '../../src/errors/index.ts';
import { eventually } from '../../src/testing/eventually.ts';
import { fakeClock } from '../../src/testing/fake-clock.ts';
import { claimOne, newRun } from '../../src/testing/run-ledger-harness.ts';
import { harness, type RedisLedger } from './redis-fixture.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** A bus that a test can take away; it holds messages to their contracts. */
async function setUp(options: { carryRun?: boolean } = {}) {
  const codec = createMessageCodec();
  const calls: (readonly OutgoingMessage[])[] = [];
  const clock = fakeClock();
  const bus: { refuse: (messages: readonly OutgoingMessage[]) => AppError | undefined } = {
    refuse: () => undefined,
  };
  const publish = async (messages: readonly OutgoingMessage[]): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    const refusal = bus.refuse(messages);
    if (refusal !== undefined) throw refusal;
    for (const message of messages) codec.encode(message);
    calls.push(messages);
  };
  const { ledger, close } = await harness({ clock, publish, ...options });
  cleanups.push(close);
  const ids = (): string[] => calls.flat().map(({ id }) => id);
  return { ledger, clock, bus, calls, ids };
}

const away = (): AppError => new AppError('unavailable', 'The bus is away.');

/** What a relay would be shown once the grace is over. */
async function leftBehind(ledger: RedisLedger, clock: ReturnType<typeof fakeClock>): Promise<string[]> {
  clock.advance(2001);
  return (await ledger.readOutbox(1000)).map(({ message }) => message.id);
}

describe('a ledger that publishes', () => {
  it('accepts a run when its start is on the bus, and leaves nothing behind', async () => {
    const { ledger, clock, calls, ids } = await setUp();
    const runs = Array.from({ length: 200 }, () => newRun());
    await Promise.all(
      runs.map(async (run) => {
        await ledger.claim([run]);
        expect(ids()).toContain(`${run.id}.1.start`);
      }),
    );
    expect(calls.length).toBeLessThan(50);
    await eventually('the outbox is empty', async () => (await leftBehind(ledger, clock)).length === 0);
    expect(ids()).toHaveLength(400);
  });

  it('publishes changes in their order, without making their callers wait', async () => {
    const { ledger, clock, bus, ids } = await setUp();
    const { id } = await claimOne(ledger);
    bus.refuse = away;
    expect((await ledger.transition({ id, from: ['queued'], to: 'starting' })).applied).toBe(true);
    await eventually('it is left behind', async () =>
      (await leftBehind(ledger, clock)).includes(`${id}.1.starting`),
    );
    bus.refuse = () => undefined;
    for (const to of ['running', 'succeeded'] as const)
      await ledger.transition({ id, from: ['starting', 'running'], to });
    await eventually('both are out', () => ids().includes(`${id}.1.succeeded`));
    expect(ids().slice(-2)).toEqual([`${id}.1.running`, `${id}.1.succeeded`]);
  });

  it('rejects a claim while the bus is away; what it stored is left to a relay, and a repetition makes it good', async () => {
    const { ledger, clock, bus, ids } = await setUp({ carryRun: true });
    bus.refuse = away;
    const run = newRun();
    await expect(ledger.claim([run])).rejects.toMatchObject({ code: 'unavailable' });
    expect(await ledger.readOutbox(10)).toEqual([]);
    // As long as its start is not on the bus, saying that it is claimed already would be no better.
    await expect(ledger.claim([run])).rejects.toMatchObject({ code: 'unavailable' });
    bus.refuse = () => undefined;
    expect(await ledger.claim([run])).toEqual([{ id: run.id, created: false }]);
    expect(ids()).toEqual([`${run.id}.1.start`]);
    expect(await leftBehind(ledger, clock)).toEqual([`${run.id}.1.start`, `${run.id}.1.queued`]);
    await ledger.transition({ id: run.id, from: ['queued'], to: 'starting' });
    expect(await ledger.claim([run])).toEqual([{ id: run.id, created: false }]);
    expect(ids().filter((id) => id.endsWith('.start'))).toHaveLength(1);
  });

  it('does not let a message that cannot be published spoil those of others', async () => {
    const { ledger, bus, ids } = await setUp();
    const [good, bad] = [newRun(), newRun()];
    const concerns = (messages: readonly OutgoingMessage[]): boolean =>
      messages.some(({ id }) => id === `${bad.id}.1.start`);
    bus.refuse = (messages) => (concerns(messages) ? new AppError('too_large', 'Too big.') : undefined);
    const results = await Promise.allSettled([ledger.claim([good]), ledger.claim([bad])]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(ids()).toContain(`${good.id}.1.start`);
    // A full stream of commands keeps no event back.
    bus.refuse = (messages) =>
      messages.some(({ name }) => name === 'runs.start') ? new AppError('limit_reached', 'Full.') : undefined;
    const late = newRun();
    await expect(ledger.claim([late])).rejects.toMatchObject({ code: 'limit_reached' });
    expect(ids()).toContain(`${late.id}.1.queued`);
  });

  it('has start messages carry their run, without its time line', async () => {
    const { ledger, calls } = await setUp({ carryRun: true });
    const run = await claimOne(ledger, { user: 'me' });
    const first = calls.flat().find(({ name }) => name === 'runs.start');
    expect(first?.payload).toMatchObject({ run_id: run.id, run: { ...run, timeline: [] } });
    const next = runStartMessage({ ...run, attempt: 2 }, 5);
    await ledger.transition({
      id: run.id,
      from: ['queued'],
      to: 'queued',
      set: { attempt: 2, infra_failures: 1 },
      publish: [next],
    });
    const second = await eventually('the second start', () => calls.flat().find(({ id }) => id === next.id));
    expect(second.payload).toMatchObject({
      not_before: 5,
      run: { id: run.id, attempt: 2, infra_failures: 1, timeline: [], event: run.event },
    });
  });

  it('refuses claims, not changes, when the outbox holds too much', async () => {
    const { ledger, close } = await harness({ maxOutbox: 2 });
    cleanups.push(close);
    const run = await claimOne(ledger);
    await expect(ledger.claim([newRun()])).rejects.toMatchObject({ code: 'limit_reached', retry: 'later' });
    expect((await ledger.transition({ id: run.id, from: ['queued'], to: 'cancelled' })).applied).toBe(true);
  });
});
