import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { inputPaths } from '../domain/match.ts';
import type { NotificationSource } from '../ports.ts';
import { createWake } from '../wake.ts';
import type { DefinitionCache } from './definitions.ts';

/** Keeps the source watching what definitions say, then has the new paths listed. */
export interface PrefixSync {
  /** Watches all paths there are, then goes on by itself. */
  start(): void;
  /** Definitions changed; these paths are new in one. */
  changed(appeared: readonly BucketPath[]): void;
  stop(): Promise<void>;
}

export interface PrefixSyncDeps {
  readonly source: NotificationSource;
  readonly cache: DefinitionCache;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called after the source watches these paths, or failed to. */
  readonly onWatched: (appeared: readonly BucketPath[]) => void;
}

const firstBackoffMs = 1000;
const longestBackoffMs = 60_000;

export function createPrefixSync(deps: PrefixSyncDeps): PrefixSync {
  const wake = createWake(deps.clock);
  let appeared: readonly BucketPath[] = [];
  let dirty = true;
  const state = { stopped: false };
  let running: Promise<void> | undefined;
  const run = async (): Promise<void> => {
    let backoff = 0;
    while (!state.stopped) {
      await wake.wait(dirty ? backoff : Number.POSITIVE_INFINITY);
      if (state.stopped || !dirty) continue;
      dirty = false;
      const paths = appeared;
      appeared = [];
      try {
        await deps.source.setPrefixes(inputPaths(deps.cache.index()));
        backoff = 0;
      } catch (error) {
        if (state.stopped) return;
        dirty = true;
        // Listed once more when they are watched: what came between the two would be found late.
        appeared = [...paths, ...appeared];
        backoff = Math.min(longestBackoffMs, Math.max(firstBackoffMs, backoff * 2));
        deps.log.warn(
          { err: error, retry_ms: backoff },
          'input paths cannot be watched now, they are listed meanwhile',
        );
      }
      // Listed behind the watching, so that nothing falls between the two; and also where watching failed.
      deps.onWatched(paths);
    }
  };
  return {
    start: () => {
      running ??= run();
    },
    changed: (paths) => {
      appeared = [...appeared, ...paths];
      dirty = true;
      wake.ring();
    },
    stop: async () => {
      state.stopped = true;
      wake.ring();
      await running;
    },
  };
}
