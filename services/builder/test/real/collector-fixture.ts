import { createRegistryPushProbe } from '@sluice/shared/adapters';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { Queue } from 'bullmq';
import { createCommandRegistryKeeper } from '../../src/adapters/index.ts';
import { commandEnvironment, createCollector, type Collector, type CollectorDeps } from '../../src/index.ts';
import type { OwnRegistry } from './own-registry.ts';

/** All that a process needs to collect. */
export interface CollectorSettings {
  readonly redisUrl: string;
  readonly namespace: string;
  readonly host: string;
  readonly commands: OwnRegistry['commands'];
}

/** Milliseconds after which a dead process counts as lost. */
export const leaseMs = 3000;

export function openQueue({ redisUrl, namespace }: Pick<CollectorSettings, 'redisUrl' | 'namespace'>): Queue {
  return new Queue('builds', { connection: { url: redisUrl }, prefix: `{${namespace}}:bull` });
}

export function collectorOf(
  { host, commands }: CollectorSettings,
  {
    queue,
    ...rest
  }: Pick<CollectorDeps, 'state' | 'random'> & { readonly queue: Queue } & Partial<
      Pick<CollectorDeps, 'protect'>
    >,
): Collector {
  return createCollector({
    queue: {
      pause: () => queue.pause(),
      resume: () => queue.resume(),
      depth: async () => ({ waiting: await queue.getWaitingCount(), active: await queue.getActiveCount() }),
    },
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
    limits: { drainMs: 5000, switchMs: 20_000, collectMs: 60_000 },
    leaseMs,
    clock: systemClock,
    log: silentLogger(),
    ...rest,
  });
}
