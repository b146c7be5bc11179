// Collects a registry and stands still at a moment of the way, to be killed there.
import { randomBytes } from 'node:crypto';
import { openRedis } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { createRedisCollectionState } from '../../src/adapters/index.ts';
import type { CollectionState } from '../../src/index.ts';
import { collectorOf, openQueue, type CollectorSettings } from './collector-fixture.ts';

export interface ChildSettings extends CollectorSettings {
  /** The phase in which it stands still: when it is stored and nothing of it is done, or when it is done. Undefined: nowhere. */
  readonly stop?: { readonly phase: string; readonly when: 'begun' | 'done' };
  readonly collect?: [string, ...string[]];
}

const settings = JSON.parse(process.argv[2] ?? '{}') as ChildSettings;
const log = silentLogger();
const redis = await openRedis({
  url: new Secret(settings.redisUrl),
  namespace: settings.namespace,
  name: 'test',
  clock: systemClock,
  log,
});
const queue = openQueue(settings);
const standStill = async (): Promise<never> => {
  process.stdout.write('here\n');
  // Renewals go on meanwhile.
  return new Promise<never>(() => undefined);
};
const real = createRedisCollectionState(redis);
let reached = 'pausing';
const at = async (when: 'begun' | 'done'): Promise<void> => {
  if (settings.stop?.phase === reached && settings.stop.when === when) await standStill();
};
const state: CollectionState = {
  ...real,
  claim: async (...args) => {
    const claim = await real.claim(...args);
    await at('begun');
    return claim;
  },
  enter: async (...args) => {
    await at('done');
    const hold = await real.enter(...args);
    [, reached] = args;
    await at('begun');
    return hold;
  },
  finish: async (...args) => {
    await at('done');
    return real.finish(...args);
  },
};
const { commands } = settings;
const result = await collectorOf(
  { ...settings, commands: { ...commands, collect: settings.collect ?? commands.collect } },
  { state, queue, random: { hex: (bytes) => randomBytes(bytes).toString('hex') } },
).collect(new AbortController().signal);
process.stdout.write(`${JSON.stringify(result)}\n`);
await queue.close();
await redis.close();
