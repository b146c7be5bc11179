import { Counter, Gauge, Histogram, metricOf, type Registry } from '@sluice/shared/telemetry';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BuildOutcome, BuildQueue, StoredBuild } from '../ports.ts';

export interface BuildMetrics {
  begun(build: StoredBuild, now: number): void;
  /** @param made steps of a build that was made, and those from a cache */
  ended(
    build: StoredBuild,
    outcome: BuildOutcome,
    made: { readonly steps: number; readonly cached: number } | undefined,
    now: number,
  ): void;
}

/** How requests for images are answered. */
export interface RequestMetrics {
  /** @param how `failed`: by an earlier failure that is not to be tried again; `refused`: too many wait */
  answered(how: 'built' | 'joined' | 'reused' | 'failed' | 'refused'): void;
}

export function createRequestMetrics(registry: Registry): RequestMetrics {
  const requests = metricOf(registry, Counter, {
    name: 'sluice_build_requests_total',
    help: 'Requests for images, by their answer: built (a new build), joined (one under way), reused (the image was there), failed (an earlier failure), refused (too many wait).',
    labelNames: ['answer'],
    registers: [registry],
  });
  return {
    answered: (how) => {
      requests.inc({ answer: how });
    },
  };
}

/**
 * Bytes of users' images.
 * @param keptMs for how long a figure counts: another process may have made the rounds since
 * @returns takes the figure of a round
 */
export function gaugeImageBytes(
  registry: Registry,
  clock: Pick<Clock, 'monotonic'>,
  keptMs: number,
): (bytes: number) => void {
  let last: { readonly bytes: number; readonly at: number } | undefined;
  const gauge: Gauge = metricOf(registry, Gauge, {
    name: 'sluice_builder_registry_bytes',
    help: "Bytes of all users' images as the last round of retention of this process found them, layers of one user counted once; without layer caches. Absent where another process makes the rounds.",
    registers: [registry],
    collect: () => {
      gauge.reset();
      if (last === undefined || clock.monotonic() - last.at > keptMs) gauge.remove();
      else gauge.set(last.bytes);
    },
  });
  return (bytes) => {
    last = { bytes, at: clock.monotonic() };
  };
}

/** What tells whether builds keep up, how they end, and what caches are worth. */
export function createBuildMetrics(registry: Registry): BuildMetrics {
  const { waited, took, ended, steps } = definitions(registry);
  return {
    begun: (build, now) => {
      waited.observe({ kind: build.spec.kind }, Math.max(0, now - build.createdAt) / 1000);
    },
    ended: (build, outcome, made, now) => {
      const { kind } = build.spec;
      ended.inc({ kind, outcome: outcome.state === 'succeeded' ? 'succeeded' : outcome.code });
      took.observe({ kind, outcome: outcome.state }, Math.max(0, now - (build.startedAt ?? now)) / 1000);
      if (made === undefined) return;
      steps.inc({ cached: 'yes' }, made.cached);
      steps.inc({ cached: 'no' }, Math.max(0, made.steps - made.cached));
    },
  };
}

function definitions(registry: Registry) {
  const registers = [registry];
  return {
    waited: metricOf(registry, Histogram, {
      name: 'sluice_build_queue_seconds',
      help: 'How long builds waited until a worker took them, by kind.',
      labelNames: ['kind'],
      buckets: [0.1, 1, 10, 60, 300, 1800, 7200],
      registers,
    }),
    took: metricOf(registry, Histogram, {
      name: 'sluice_build_seconds',
      help: 'How long builds took from the moment a worker took them, by kind and state at the end.',
      labelNames: ['kind', 'outcome'],
      buckets: [1, 5, 15, 60, 180, 600, 1800],
      registers,
    }),
    ended: metricOf(registry, Counter, {
      name: 'sluice_builds_ended_total',
      help: 'Builds that ended, by kind and outcome (succeeded, or the word for what went wrong).',
      labelNames: ['kind', 'outcome'],
      registers,
    }),
    steps: metricOf(registry, Counter, {
      name: 'sluice_build_steps_total',
      help: 'Steps of builds, by whether a cache had them: their ratio is what caches are worth.',
      labelNames: ['cached'],
      registers,
    }),
  };
}

/** Builds in the queue, as it says when it is asked. */
export function gaugeQueue(registry: Registry, queue: Pick<BuildQueue, 'depth'>): void {
  const gauge: Gauge = metricOf(registry, Gauge, {
    name: 'sluice_build_queue',
    help: 'Builds that wait for a worker, and that workers have in hand.',
    labelNames: ['state'],
    registers: [registry],
    collect: async () => {
      // A queue that cannot be asked has no number; that it is away is told by /health/ready.
      const depth = await queue.depth().catch(() => undefined);
      if (depth === undefined) return gauge.reset();
      gauge.set({ state: 'waiting' }, depth.waiting);
      gauge.set({ state: 'active' }, depth.active);
    },
  });
}
