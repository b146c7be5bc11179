import { describe, expect, it } from 'vitest';
import { AppError } from '../errors/index.ts';
import { silentLogger } from '../telemetry/index.ts';
import { eventually, fakeClock } from '../testing/index.ts';
import { createOutboxRelay, type Outbox } from './outbox-relay.ts';
import type { OutgoingMessage } from './port.ts';

const message = (id: string, name: OutgoingMessage['name'] = 'runs.start'): OutgoingMessage => ({
  id,
  name,
  payload: {},
});

/** An outbox and a bus in memory, with a relay between them. */
function relayOver(publish: (messages: readonly OutgoingMessage[]) => void = () => undefined) {
  const clock = fakeClock();
  const entries = new Map<string, OutgoingMessage>();
  const published: string[] = [];
  const listeners = new Set<() => void>();
  let calls = 0;
  let seq = 0;
  const ledger: Outbox = {
    readOutbox: async (limit) => [...entries].slice(0, limit).map(([it, message]) => ({ seq: it, message })),
    removeFromOutbox: async (seqs) => seqs.forEach((it) => entries.delete(it)),
    onOutbox: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const bus = {
    publish: async (messages: readonly OutgoingMessage[]) => {
      calls += 1;
      publish(messages);
      published.push(...messages.map(({ id }) => id));
    },
  };
  return {
    clock,
    entries,
    published,
    listeners,
    calls: () => calls,
    /** @param hint whether the relay is told */
    add: (messages: readonly OutgoingMessage[], hint = true) => {
      for (const it of messages) entries.set(String((seq += 1)), it);
      if (hint) for (const listener of listeners) listener();
    },
    relay: createOutboxRelay({ ledger, bus, clock, log: silentLogger(), batch: 10 }),
  };
}

describe('the outbox relay', () => {
  it('moves what is there at start and what comes later, in batches', async () => {
    const { add, relay, entries, published, calls, listeners } = relayOver();
    add(Array.from({ length: 25 }, (_, index) => message(`m${index}`)));
    await relay.start();
    await relay.start();
    await eventually('the first are moved', () => entries.size === 0);
    expect(calls()).toBe(3);
    add([message('later')]);
    await eventually('the later one is moved', () => entries.size === 0);
    expect(published).toEqual([...Array.from({ length: 25 }, (_, index) => `m${index}`), 'later']);
    await relay.stop();
    await relay.stop();
    expect(listeners.size).toBe(0);
    add([message('too late')]);
    expect(published).not.toContain('too late');
  });

  it('looks by itself where the hint is missed', async () => {
    const { add, clock, relay, published } = relayOver();
    await relay.start();
    await eventually('it waits', () => clock.sleepers() === 1);
    add([message('a')], false);
    clock.advance(999);
    expect(published).toEqual([]);
    clock.advance(1);
    await eventually('it is moved', () => published.length === 1);
    await relay.stop();
    expect(clock.sleepers()).toBe(0);
  });

  it('tries for ever while the bus is away, ever more slowly, and says so', async () => {
    let away = true;
    const { add, clock, relay, published, calls } = relayOver(() => {
      if (away) throw new AppError('unavailable', 'no bus');
    });
    add([message('a')]);
    await relay.start();
    await eventually('the first try', () => calls() === 1);
    await expect(relay.check()).rejects.toMatchObject({ message: 'no bus' });
    for (const wait of [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]) {
      const before = calls();
      await eventually('it waits', () => clock.sleepers() === 1);
      clock.advance(wait - 1);
      expect(calls()).toBe(before);
      clock.advance(1);
      await eventually('the next try', () => calls() === before + 1);
    }
    away = false;
    await eventually('it waits', () => clock.sleepers() === 1);
    clock.advance(10_000);
    await eventually('it is moved', () => published.length === 1);
    await eventually('it is well', async () =>
      relay.check().then(
        () => true,
        () => false,
      ),
    );
    await relay.stop();
  });

  it('stops at once while it waits for the bus', async () => {
    const { add, clock, relay, entries } = relayOver(() => {
      throw new AppError('unavailable', 'no bus');
    });
    add([message('a')]);
    await relay.start();
    await eventually('it waits', () => clock.sleepers() === 1);
    await relay.stop();
    expect(entries.size).toBe(1);
  });

  it('drops what can never be published, and moves the rest', async () => {
    const { add, relay, entries, published } = relayOver((messages) => {
      if (messages.some(({ id }) => id === 'poison'))
        throw new AppError('invalid_input', 'breaks its contract');
    });
    add([message('a'), message('poison'), message('b', 'runs.queued')]);
    await relay.start();
    await eventually('the outbox is empty', () => entries.size === 0);
    expect(published.sort()).toEqual(['a', 'b']);
    await relay.stop();
  });

  it('moves other messages while one stream is full', async () => {
    let room = 1;
    const { add, clock, relay, entries, published } = relayOver((messages) => {
      const starts = messages.filter(({ name }) => name === 'runs.start').length;
      if (starts > room) throw new AppError('limit_reached', 'full');
      room -= starts;
    });
    add([message('s1'), message('s2'), message('e1', 'runs.queued'), message('e2', 'runs.queued')]);
    await relay.start();
    await eventually('what can be moved is', () => published.length === 3);
    expect(published.sort()).toEqual(['e1', 'e2', 's1']);
    expect([...entries.values()].map(({ id }) => id)).toEqual(['s2']);
    room = 5;
    await eventually('it waits', () => clock.sleepers() === 1);
    clock.advance(100);
    await eventually('the last is moved', () => entries.size === 0);
    await relay.stop();
  });
});
