import { createRegistryPushProbe } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { Queue } from 'bullmq';
import { bullPlace, bullQueueName } from '../../src/adapters/bull-names.ts';
import { createBullBuildQueue, createCommandRegistryKeeper } from '../../src/adapters/index.ts';
import type { BuildQueue } from '../../src/index.ts';
import { commandEnvironment, createCollector, type Collector, type CollectorDeps } from '../../src/index.ts';
import type { OwnRegistry } from './own-registry.ts';

/** All that a process needs to collect. */
export interface CollectorSettings {
  readonly redisUrl: string;
  readonly namespace: string;
  readonly host: string;
  readonly commands: OwnRegistry['commands'];
}

/** Milliseconds after which a dead process counts as lost; one that gets no processor for some seconds must not. */
export const leaseMs = 8000;

export type TestQueue = BuildQueue & { isPaused(): Promise<boolean> };

export function openQueue({
  redisUrl,
  namespace,
}: Pick<CollectorSettings, 'redisUrl' | 'namespace'>): TestQueue {
  const url = new Secret(redisUrl);
  const connection = { url, namespace, name: 'test', clock: systemClock, log: silentLogger() };
  const queue = createBullBuildQueue({ connection });
  const bull = new Queue(bullQueueName, { connection: { url: redisUrl }, prefix: bullPlace(namespace) });
  return {
    ...queue,
    isPaused: () => bull.isPaused(),
    close: async () => {
      await Promise.all([queue.close(), bull.close()]);
    },
  };
}

export function collectorOf(
  { host, commands }: CollectorSettings,
  deps: Pick<CollectorDeps, 'state' | 'random' | 'queue'> & Partial<Pick<CollectorDeps, 'protect'>>,
): Collector {
  return createCollector({
    keeper: createCommandRegistryKeeper({
      ...commands,
      env: commandEnvironment(process.env),
      clock: systemClock,
    }),
    probe: createRegistryPushProbe({
      repository: `${host}/sluice-probe`,
      logins: () => Promise.resolve(undefined),
      clock: systemClock,
    }),
    protect: () => Promise.resolve(),
    limits: { drainMs: 5000, switchMs: 60_000, collectMs: 60_000 },
    leaseMs,
    clock: systemClock,
    log: silentLogger(),
    ...deps,
  });
}
