import { writeSync } from 'node:fs';
// Not the test kit's index: its suites need a test runner.
import { startMessage } from '../../src/testing/bus-harness.ts';
import { newRun } from '../../src/testing/run-ledger-harness.ts';
import { busOf, ledgerOf, open } from './sqlite-fixture.ts';

/**
 * Works on a bus and a ledger until it is killed. Says on standard output what it is about to do (`may …`) and what it
 * was told is stored (`did …`), each in one write, so that the reader knows as much as a caller would.
 */
const say = (word: 'may' | 'did', what: string): void => {
  writeSync(1, `${word} ${what}\n`);
};

const db = open(process.argv[2] ?? '');
const bus = busOf(db);
const ledger = ledgerOf(db);
const queue = await bus.workQueue({ durable: 'worker', name: 'runs.start', maxInFlight: 50 });

async function runs(): Promise<never> {
  for (;;) {
    const { id } = newRun();
    await ledger.claim([newRun({ id })]);
    say('did', `claim ${id}`);
    for (const to of ['starting', 'running', 'succeeded'] as const) {
      await ledger.transition({ id, from: ['queued', 'starting', 'running'], to });
      say('did', `${to} ${id}`);
    }
  }
}

async function publishing(): Promise<never> {
  for (;;) {
    const ids = [crypto.randomUUID(), crypto.randomUUID()];
    await bus.publish(ids.map((id) => startMessage(id)));
    for (const id of ids) say('did', `publish ${id}`);
  }
}

async function working(): Promise<never> {
  for (;;) {
    const deliveries = await queue.fetch('thumbnail', 3);
    for (const { message, ack } of deliveries) {
      say('may', `ack ${message.id}`);
      await ack();
      say('did', `ack ${message.id}`);
    }
    if (deliveries.length === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

await Promise.all([runs(), runs(), runs(), runs(), publishing(), publishing(), working(), working()]);
