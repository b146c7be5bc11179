import { setTimeout as delay } from 'node:timers/promises';
import { busOn, openTestNats } from './nats-fixture.ts';

/** A reader in a process of its own: says each message that it is given, then handles it or holds it for ever. */
const [server = '', namespace = '', mode = '', maxAttempts = '8'] = process.argv.slice(2);
const nats = await openTestNats(server);
const bus = await busOn(nats, { namespace });
await bus.subscribe(
  {
    durable: 'reader',
    names: ['runs.start'],
    maxInFlight: 8,
    leaseMs: 1500,
    maxAttempts: Number(maxAttempts),
  },
  async ({ message }) => {
    process.stdout.write(`${message.id}\n`);
    if (mode === 'hold') await new Promise<void>(() => undefined);
    await delay(5);
  },
);
process.stdout.write('ready\n');
