import type { Bus } from '@sluice/shared/bus';
import { createPeriodic, type Clock, type Component } from '@sluice/shared/lifecycle';
import type { RunLogs } from '@sluice/shared/stores';
import type { Logger, Registry, Tracer } from '@sluice/shared/telemetry';
import type { ImageUses } from './clean-up-ports.ts';
import { createBuildMetrics, gaugeQueue } from './app/metrics.ts';
import { performBuild, type PerformDeps } from './app/perform-build.ts';
import { tidyBuilds } from './app/tidy-builds.ts';
import type {
  BuildLimits,
  BuildQueue,
  BuildStore,
  BuildWorkers,
  EnvironmentOf,
  ImageBuilder,
  Registries,
  Schedules,
} from './ports.ts';

export interface BuilderDeps {
  readonly store: BuildStore;
  readonly queue: BuildQueue;
  readonly workers: BuildWorkers;
  readonly builder: ImageBuilder & { sweep(): Promise<unknown> };
  readonly uses: Pick<ImageUses, 'note'>;
  /** What is done at intervals, once over all processes, by its name; `everyMs` undefined: never. */
  readonly schedules: Schedules;
  readonly tasks: Readonly<Record<string, { readonly everyMs: number | undefined }>>;
  /** Undoes what a process left that was lost while it collected. */
  readonly recover: (signal: AbortSignal) => Promise<unknown>;
  readonly registries: Registries;
  readonly environmentOf: EnvironmentOf;
  readonly logs: RunLogs;
  readonly bus: Pick<Bus, 'publish'>;
  readonly limits: BuildLimits;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tracer: Tracer;
  readonly config: BuilderConfig;
}

export interface BuilderConfig {
  readonly timeoutMs: number;
  /** How long a build may wait before it is `expired`. */
  readonly waitMs: number;
  /** How long ended tickets are kept. */
  readonly retentionMs: number;
  readonly layerCache: boolean;
  /** How long builds under way may go on when the process is to stop. */
  readonly graceMs: number;
}

const tidyMs = 10_000;

/** Takes builds out of the queue and makes their images. */
export function createBuilder(deps: BuilderDeps): Component {
  const { workers, builder, store, clock, log, config } = deps;
  const metrics = createBuildMetrics(deps.metrics);
  gaugeQueue(deps.metrics, deps.queue);
  const say = createSay(deps);
  let tidying: { stop(): Promise<void> } | undefined;
  const stop = new AbortController();
  let stopping: Promise<void> | undefined;
  let recovering: Promise<void> | undefined;
  return {
    name: 'builder',
    start: async () => {
      await builder.sweep();
      // Switching a registry back takes time, which nobody here waits for.
      recovering = recoverNow(deps, stop.signal);
      await workers.start(async (id, attempt, signal) =>
        performBuild({ ...deps, ...config, metrics, say }, id, attempt, signal),
      );
      for (const [name, { everyMs }] of Object.entries(deps.tasks)) await deps.schedules.set(name, everyMs);
      tidying = createPeriodic({ name: 'tidy builds', everyMs: tidyMs, clock, log }, async () => {
        await tidyBuilds({ ...deps, ...config, say });
        await deps.recover(stop.signal);
      });
    },
    stop: () =>
      (stopping ??= (async () => {
        stop.abort();
        await recovering;
        await tidying?.stop();
        await workers.stop(config.graceMs);
      })()),
    check: async () => {
      await store.check();
      await builder.check();
    },
  };
}

/** What cannot be undone now is tried again with the next tidying. */
async function recoverNow({ recover, log }: BuilderDeps, signal: AbortSignal): Promise<void> {
  try {
    await recover(signal);
  } catch (error) {
    if (!signal.aborted) log.warn({ err: error }, 'what a lost collection left is not undone yet');
  }
}

/** Events are for those who watch; a bus that is away holds no build up. */
function createSay({ bus, log }: Pick<BuilderDeps, 'bus' | 'log'>): PerformDeps['say'] {
  return async (change, traceparent) => {
    const id = `build-${change.build}-${change.state}-${change.at}`;
    try {
      const context = traceparent === undefined ? {} : { traceparent };
      await bus.publish([{ id, name: 'builds.changed', key: change.user, payload: change, ...context }]);
    } catch (error) {
      log.debug({ err: error }, 'a build event was not published');
    }
  };
}
