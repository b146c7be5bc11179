import { randomUUID } from 'node:crypto';
import { isFinalBuild, type PruneReport } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BuildDesk, DefinitionStore, RunLogs } from '@sluice/shared/stores';
import { createImages } from './app/images.ts';
import { createRequestMetrics } from './app/metrics.ts';
import { createRequests, type CatalogueEntry } from './app/requests.ts';
import type { Registry } from '@sluice/shared/telemetry';
import type { CollectionState, ImageUses } from './clean-up-ports.ts';
import type { RequestRules } from './domain/request.ts';
import type { BuildLimits, BuildQueue, BuildStore, Registries } from './ports.ts';

export interface BuildDeskDeps {
  readonly store: BuildStore;
  readonly queue: BuildQueue;
  readonly registries: Registries;
  readonly definitions: Pick<DefinitionStore, 'list'>;
  readonly logs: Pick<RunLogs, 'read' | 'remove'>;
  readonly rules: RequestRules;
  readonly limits: BuildLimits;
  readonly catalogue: readonly CatalogueEntry[];
  /** An image that brings Maven; empty: none. */
  readonly toolImage: string;
  readonly prune: (options: { readonly dryRun: boolean }) => Promise<PruneReport>;
  readonly uses: Pick<ImageUses, 'note'>;
  readonly metrics: Registry;
  readonly collection: Pick<CollectionState, 'underWay'>;
  readonly clock: Pick<Clock, 'now'>;
}

/** @throws nothing by itself; see `BuildDesk` for what its methods reject with */
export function createBuildDesk(deps: BuildDeskDeps): BuildDesk {
  const { store, logs, clock, limits } = deps;
  const metrics = createRequestMetrics(deps.metrics);
  const requests = createRequests({ ...deps, metrics, uuid: randomUUID });
  const images = createImages(deps);
  return {
    ...requests,
    builders: () => deps.catalogue.map(({ id, kind }) => ({ id, kind })),
    get: async (caller, id) => store.ticket(caller.login, id),
    list: async (caller, page) => store.tickets(caller.login, page),
    log: async (ticket, query) => {
      const chunk = await logs.read({ service: ticket.user, runId: ticket.build }, query);
      // A build that waits for another try writes more.
      return chunk === undefined || isFinalBuild(ticket.state) ? chunk : { ...chunk, complete: false };
    },
    cleanup: async (caller, maxAgeMs) => {
      const { removed, builds } = await store.removeEnded(clock.now() - maxAgeMs, caller.login);
      await logs.remove(builds.map(({ user, id }) => ({ service: user, runId: id })));
      return removed;
    },
    images: images.list,
    image: images.get,
    deleteImage: images.remove,
    usage: async (caller) => {
      const [counts, stored] = await Promise.all([store.counts(caller.login), images.bytes(caller)]);
      return { ...counts, max_queued: limits.userOpen, max_running: limits.userRunning, ...stored };
    },
    prune: deps.prune,
  };
}
