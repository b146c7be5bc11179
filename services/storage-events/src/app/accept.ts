import type { Bus } from '@sluice/shared/bus';
import type { BackfillStart, RunSource } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import type { NewRun, ObjectHead, RunLedger } from '@sluice/shared/stores';
import {
  childTraceparent,
  noTracer,
  startAcceptSpan,
  type Logger,
  type Span,
  type Tracer,
} from '@sluice/shared/telemetry';
import { buildRun, runIdFor } from '../domain/build-run.ts';
import { lineageOf, maxHops, type Lineage } from '../domain/lineage.ts';
import { matchServices } from '../domain/match.ts';
import { chunksOf, createRecent } from '../limited.ts';
import type { ObjectNotification } from '../ports.ts';
import { pathKey, type DefinitionCache, type KnownService } from './definitions.ts';
import type { FloorBook } from './floors.ts';
import type { ClaimStatus, StorageEventsMetrics } from './metrics.ts';

/** An object that a service is to run. */
export interface Wanted {
  readonly service: KnownService;
  readonly object: ObjectHead;
  readonly eventTime?: number | undefined;
  readonly user?: string | undefined;
  /** See `RunContext.again`. */
  readonly again?: string | undefined;
  /** Counts the hops anew, since a person asked for the run. */
  readonly afresh?: boolean;
}

/** Turns objects into claimed runs. What it resolves for is durable; the ledger's outbox starts the runs. */
export interface Acceptor {
  /** Claims a run for every service that wants an object. A rejection means that the batch has to be given again. */
  notified(batch: readonly ObjectNotification[]): Promise<void>;
  /** Claims what is wanted, in order; one status for each. */
  claim(wanted: readonly Wanted[], source: RunSource): Promise<readonly ClaimStatus[]>;
  /** Whether this id was refused for its hops a while ago, so that nobody need look at its object again. */
  refused(id: string): boolean;
}

export interface AcceptDeps {
  readonly cache: DefinitionCache;
  readonly floors: FloorBook;
  readonly ledger: RunLedger;
  readonly bus: Bus;
  readonly log: Logger;
  readonly metrics: StorageEventsMetrics;
  /** @default none */
  readonly tracer?: Tracer;
}

/** Runs in one step of the ledger. */
const claimBatch = 500;
const rememberedRefusals = 10_000;

/** The durable reader of `backfills.start`; what is redriven comes to it. */
export const backfillConsumer = 'storage-events-backfills';

export function createAcceptor(deps: AcceptDeps): Acceptor {
  const { log, metrics } = deps;
  const refusals = createRecent<true>(rememberedRefusals);
  const claim = async (wanted: readonly Wanted[], source: RunSource): Promise<readonly ClaimStatus[]> => {
    const statuses: ClaimStatus[] = [];
    for (const batch of chunksOf(wanted, claimBatch)) {
      const part = await claimSome(deps, refusals, batch, source);
      for (const status of part) metrics.claim(source, status);
      statuses.push(...part);
    }
    return statuses;
  };
  return {
    notified: async (batch) => {
      const wanted: Wanted[] = [];
      let unmatched = 0;
      for (const notification of batch) {
        const services = await servicesFor(deps, notification);
        if (services.length === 0) unmatched += 1;
        const { object, eventTime, user } = notification;
        for (const service of services) wanted.push({ service, object, eventTime, user });
      }
      const statuses = await claim(wanted, 'notification');
      metrics.notifications(batch.length, unmatched);
      const claimed = statuses.filter((status) => status === 'claimed').length;
      log.debug({ received: batch.length, unmatched, claimed }, 'notifications taken');
    },
    claim,
    refused: (id) => refusals.get(id) === true,
  };
}

/** The services that an object is news for: what was there before a service is not its business. */
async function servicesFor(
  deps: AcceptDeps,
  { object, seenAt }: ObjectNotification,
): Promise<readonly KnownService[]> {
  const services: KnownService[] = [];
  for (const { service, path } of matchServices(deps.cache.index(), object.bucket, object.key)) {
    const since = service.knownSince.get(pathKey(path)) ?? Number.POSITIVE_INFINITY;
    const cameLater = seenAt !== undefined && seenAt >= since;
    if (cameLater || object.changedAt > (await deps.floors.of(service, path))) services.push(service);
  }
  return services;
}

type Refusals = ReturnType<typeof createRecent<true>>;

async function claimSome(
  deps: AcceptDeps,
  refusals: Refusals,
  batch: readonly Wanted[],
  source: RunSource,
): Promise<readonly ClaimStatus[]> {
  const runs = new Map<string, NewRun>();
  const spans = new Map<string, Span>();
  const plans: ({ readonly runId: string } | { readonly status: ClaimStatus })[] = [];
  for (const wanted of batch) {
    const lineage = lineageOf(wanted.object.metadata);
    if (lineage.hop > maxHops && wanted.afresh !== true) {
      plans.push({ status: await refuse(deps, refusals, wanted, lineage) });
      continue;
    }
    const runId = runIdFor(wanted.service, wanted.object, wanted.again);
    // The same object twice in a batch is one run.
    if (runs.has(runId)) {
      plans.push({ status: 'duplicate' });
      continue;
    }
    plans.push({ runId });
    const about = { id: runId, service: wanted.service.name, source, bucket: wanted.object.bucket };
    const span = startAcceptSpan(deps.tracer ?? noTracer, about, lineage.traceparent);
    spans.set(runId, span);
    runs.set(runId, runOf(wanted, lineage, source, span.traceparent));
  }
  const created = new Map<string, boolean>();
  if (runs.size > 0) {
    for (const result of await deps.ledger.claim([...runs.values()])) {
      created.set(result.id, result.created);
      if (result.created) spans.get(result.id)?.end();
    }
  }
  return plans.map((plan) => {
    if ('status' in plan) return plan.status;
    return created.get(plan.runId) === true ? 'claimed' : 'duplicate';
  });
}

function runOf(wanted: Wanted, lineage: Lineage, source: RunSource, traceparent: string): NewRun {
  return buildRun(wanted.service, wanted.object, {
    source,
    hop: wanted.afresh === true ? 0 : lineage.hop,
    traceparent,
    eventTime: wanted.eventTime,
    user: wanted.user,
    again: wanted.again,
  });
}

/** Past the hops: a dead letter that, redriven, asks for a run of this one object all the same. */
async function refuse(
  deps: AcceptDeps,
  refusals: Refusals,
  { service, object }: Wanted,
  lineage: Lineage,
): Promise<ClaimStatus> {
  const runId = runIdFor(service, object);
  if (refusals.get(runId) === true) return 'refused';
  // Redriven before: it had its run.
  if ((await deps.ledger.claimed([runId]))[0] === true) return 'duplicate';
  const { bucket, key } = object;
  const id = `hops-${runId}`;
  const payload: BackfillStart = {
    backfill_id: id,
    service: service.name,
    service_uid: service.uid,
    prefix: '',
    again: false,
    object: { bucket, key },
  };
  const fields = { service: service.name, bucket, key, hop: lineage.hop, from_run: lineage.run };
  try {
    await deps.bus.deadLetters.put(
      {
        id,
        name: 'backfills.start',
        key: service.name,
        payload,
        traceparent: childTraceparent(lineage.traceparent),
      },
      {
        consumer: backfillConsumer,
        reason: `The object ${bucket}/${key} has been through more than ${maxHops} services one after another, so a loop is assumed. Redrive it to run it all the same.`,
      },
    );
  } catch (error) {
    // With the dead letters full, everything behind this object would wait. It stays unclaimed: a listing offers it again.
    if (!isAppError(error, 'limit_reached')) throw error;
    deps.log.error(
      { ...fields, err: error },
      'past its hops, and no room for its dead letter: it is offered again',
    );
    return 'postponed';
  }
  refusals.set(runId, true);
  deps.log.warn(fields, 'past its hops: no run, a dead letter');
  return 'refused';
}
