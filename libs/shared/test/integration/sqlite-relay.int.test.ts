import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Database } from '@sluice/shared/adapters';
import { type Bus, createOutboxRelay, type Delivery } from '@sluice/shared/bus';
import { type Component, systemClock } from '@sluice/shared/lifecycle';
import type { RunLedger } from '@sluice/shared/stores';
import { eventually, newRun } from '@sluice/shared/testing';
import { busOf, ledgerOf, log, open, tempDatabase } from './sqlite-fixture.ts';

let path: string;
let remove: () => Promise<void>;
let db: Database;
let bus: Bus;
let ledger: RunLedger;
let relay: Component;
const start = (): void => {
  db = open(path);
  bus = busOf(db);
  ledger = ledgerOf(db);
  relay = createOutboxRelay({ ledger, bus, clock: systemClock, log });
};
beforeEach(async () => {
  ({ path, remove } = await tempDatabase());
  start();
});
afterEach(async () => {
  await relay.stop();
  await bus.close();
  await db.close();
  await remove();
});

const spec = { durable: 'scheduler', name: 'runs.start', maxInFlight: 5000 } as const;

async function fetchAll(): Promise<readonly Delivery[]> {
  const queue = await bus.workQueue(spec);
  const found: Delivery[] = [];
  for (const { key, waiting } of await queue.backlog()) found.push(...(await queue.fetch(key, waiting)));
  await queue.close();
  return found;
}

it('turns every claim into one command, across a restart in the middle', async () => {
  const runs = Array.from({ length: 1500 }, (_, index) => newRun({ service: `s${index % 3}` }));
  await ledger.claim(runs.slice(0, 1000));
  await relay.start();
  await eventually('some are published', async () => (await ledger.readOutbox(2000)).length < 2000);
  // As a kill would: the relay finds its database closed.
  await db.close();
  await relay.stop();
  start();
  await relay.start();
  await Promise.all(runs.slice(1000).map(async (run) => ledger.claim([run])));
  await eventually('all are published', async () => (await ledger.readOutbox(1)).length === 0);
  const ids = (await fetchAll()).map(({ message }) => message.id);
  expect(ids.sort()).toEqual(runs.map(({ id }) => `${id}.1.start`).sort());
});

it('publishes a second time what was published but not removed, to no effect', async () => {
  const run = newRun();
  await ledger.claim([run]);
  await bus.publish((await ledger.readOutbox(10)).map(({ message }) => message));
  const [delivery] = await fetchAll();
  await delivery?.ack();
  await relay.start();
  await eventually('the outbox is empty', async () => (await ledger.readOutbox(1)).length === 0);
  expect(await fetchAll()).toEqual([]);
});
