import { createSecretKey, randomBytes } from 'node:crypto';
import {
  createNatsDefinitionStore,
  createSecretBox,
  type MasterKey,
  type NatsDefinitionStore,
  type SecretBox,
} from '../../src/adapters/index.ts';
import { type Nats, openNats } from '../../src/adapters/nats-connection.ts';
import { Secret } from '../../src/config/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import type { ServiceDefinition } from '../../src/contracts/index.ts';
import type { NewDefinition } from '../../src/stores/index.ts';
import { definitionOf } from '../../src/testing/definition-of.ts';
import { silentLogger } from '../../src/telemetry/index.ts';

const log = silentLogger();

/** Connects to the NATS server of the tests, or to another one. */
export async function openTestNats(server?: string): Promise<Nats> {
  const { NATS_URL, NATS_TOKEN } = process.env;
  const url = server ?? NATS_URL;
  if (url === undefined || url === '') throw new Error('this test needs a NATS server: set NATS_URL');
  return openNats({
    servers: url.split(','),
    ...(server === undefined && NATS_TOKEN ? { token: new Secret(NATS_TOKEN) } : {}),
    name: 'test',
    clock: systemClock,
    log,
  });
}

export function randomNamespace(): string {
  return `t${randomBytes(5).toString('hex')}`;
}

export function randomKey(id: string): MasterKey {
  return { id, key: createSecretKey(randomBytes(32)) };
}

export function boxOf(...keys: readonly [MasterKey, ...MasterKey[]]): SecretBox {
  return createSecretBox({ keys, random: randomBytes });
}

export async function openTestStore(
  nats: Nats,
  namespace: string,
  box: SecretBox | undefined,
): Promise<NatsDefinitionStore> {
  return createNatsDefinitionStore({
    nats,
    namespace,
    clock: systemClock,
    log,
    random: randomBytes,
    ...(box === undefined ? {} : { box }),
  });
}

/** A definition and its secrets, which carry the same mark. */
export function inputOf(name: string, mark = 'm', changes: Partial<ServiceDefinition> = {}): NewDefinition {
  return {
    definition: definitionOf(name, { annotations: { mark }, ...changes }),
    secrets: { token: 'a'.repeat(64), environment: { MARK: mark } },
    floors: [{ bucket: name, prefix: 'in/', at: 1000 }],
  };
}
