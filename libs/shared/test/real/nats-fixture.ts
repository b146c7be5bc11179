import { randomBytes } from 'node:crypto';
import { jetstreamManager } from '@nats-io/jetstream';
import { createNatsBus, type Nats, type NatsBusOptions, openNats } from '../../src/adapters/index.ts';
import type { Bus } from '../../src/bus/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { silentLogger } from '../../src/telemetry/index.ts';

/** Where the NATS server of the tests is. */
export function natsServer(): string {
  const { NATS_URL } = process.env;
  if (!NATS_URL) throw new Error('this test needs a NATS server with JetStream: set NATS_URL');
  return NATS_URL;
}

export function randomNamespace(): string {
  return `t-${randomBytes(5).toString('hex')}`;
}

export async function openTestNats(server = natsServer(), waitMs = 5000): Promise<Nats> {
  return openNats({
    servers: [server],
    name: 'sluice-test',
    clock: systemClock,
    log: silentLogger(),
    waitMs,
  });
}

/** Small enough for many at a time on one server. */
const streamBytes = 32 * 1024 * 1024;

export async function busOn(
  nats: Nats,
  options: Partial<NatsBusOptions> & { namespace: string },
): Promise<Bus> {
  return createNatsBus({
    nats,
    clock: systemClock,
    log: silentLogger(),
    random: randomBytes,
    ...options,
    limits: { streamBytes, ...options.limits },
  });
}

/** Removes all streams of a namespace. */
export async function removeStreams(namespace: string, server = natsServer()): Promise<void> {
  const nats = await openTestNats(server);
  const jsm = await jetstreamManager(nats.connection);
  for await (const { config } of jsm.streams.list()) {
    if (config.name.startsWith(`${namespace.toUpperCase()}_`)) await jsm.streams.delete(config.name);
  }
  await nats.close();
}
