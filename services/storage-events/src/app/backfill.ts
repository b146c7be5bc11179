import type { Bus, Delivery, Subscription } from '@sluice/shared/bus';
import type { BackfillStart } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BucketPath, DefinitionStore, ObjectInfo } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { isInputKey } from '../domain/match.ts';
import { createWake } from '../wake.ts';
import { backfillConsumer } from './accept.ts';
import { serviceOf, type KnownService } from './definitions.ts';
import { headOf, listPage } from './list-objects.ts';
import type { FloorBook } from './floors.ts';
import { offerAll, type OfferDeps } from './offer.ts';

export interface BackfillDeps extends OfferDeps {
  readonly bus: Bus;
  readonly definitions: DefinitionStore;
  readonly floors: FloorBook;
  readonly clock: Clock;
  readonly log: Logger;
}

const leaseMs = 60_000;
const pagesALogLine = 20;

/**
 * Runs what was there before, on request (`backfills.start`): lists whatever the floor is, and claims what has no claim.
 * With `again`, also what has had its run gets another one, whose id comes from this backfill's, so that a second delivery
 * changes nothing.
 */
export async function startBackfills(deps: BackfillDeps): Promise<Subscription> {
  const state = { stopping: false };
  const subscription = await deps.bus.subscribe(
    // Most of a day, while a server is away.
    { durable: backfillConsumer, names: ['backfills.start'], maxInFlight: 2, maxAttempts: 1000, leaseMs },
    async (delivery) => {
      await withLease(deps, delivery, async () => perform(deps, delivery, state));
    },
  );
  return {
    drain: async (timeoutMs) => {
      state.stopping = true;
      await subscription.drain(timeoutMs);
    },
  };
}

/** Renews the lease at a third of it while the work goes on. */
async function withLease(deps: BackfillDeps, delivery: Delivery, work: () => Promise<void>): Promise<void> {
  const wake = createWake(deps.clock);
  let done = false;
  const beat = async (): Promise<void> => {
    for (;;) {
      await wake.wait(leaseMs / 3);
      if (done) return;
      try {
        await delivery.extend();
      } catch (error) {
        // The work goes on: should the message come a second time meanwhile, claims make that harmless.
        deps.log.warn(
          { err: error, message_id: delivery.message.id },
          'lease of a backfill could not be renewed',
        );
      }
    }
  };
  const beating = beat();
  try {
    await work();
  } finally {
    done = true;
    wake.ring();
    await beating;
  }
}

async function perform(
  deps: BackfillDeps,
  delivery: Delivery,
  state: { readonly stopping: boolean },
): Promise<void> {
  // Checked against the contract by the bus.
  const request = delivery.message.payload as BackfillStart;
  const fields = { backfill_id: request.backfill_id, service: request.service };
  const stored = await deps.definitions.get(request.service);
  if (stored === undefined || stored.uid !== request.service_uid) {
    deps.log.info(fields, 'backfill of a service that is gone, nothing to do');
    return;
  }
  const service = serviceOf(stored, deps.log);
  const count: Count = { objects: 0, claimed: 0, unfinished: 0, stuck: 0 };
  if (request.object !== undefined) {
    const head = await headOf(deps.objects, request.object.bucket, request.object.key);
    if (head !== undefined) {
      await offer(deps, { service, request, count, floor: Number.POSITIVE_INFINITY }, [head]);
    }
  } else {
    for (const path of wantedPaths(service, request.prefix)) {
      const complete = await backfillPath(deps, service, path, request, { count, state, fields });
      if (complete) continue;
      await delivery.release();
      return;
    }
  }
  deps.log.info({ ...fields, ...count }, 'backfill done');
  if (count.stuck === 0) return;
  throw new AppError('unavailable', `${count.stuck} objects are being written to; they are tried again.`, {
    details: { ...fields, ...count },
  });
}

interface Count {
  objects: number;
  claimed: number;
  /** Still being written. */
  unfinished: number;
  /** Of those, the ones that nothing but this backfill will run once they are complete. */
  stuck: number;
}

/** False when it was broken off because we stop. */
async function backfillPath(
  deps: BackfillDeps,
  service: KnownService,
  path: WantedPath,
  request: BackfillStart,
  context: { count: Count; state: { readonly stopping: boolean }; fields: object },
): Promise<boolean> {
  const floor = await deps.floors.of(service, { bucket: path.bucket, prefix: path.input });
  let after: string | undefined;
  for (let page = 1; ; page += 1) {
    if (context.state.stopping) return false;
    const { objects, next } = await listPage(deps.objects, path, after);
    const inputs = objects.filter(({ key }) => isInputKey(path.input, key));
    await offer(deps, { service, request, count: context.count, floor }, inputs);
    if (next === undefined) return true;
    after = next;
    if (page % pagesALogLine === 0)
      deps.log.info({ ...context.fields, ...context.count }, 'backfill goes on');
  }
}

/** @param work with the floor at or below which nobody else brings an object */
async function offer(
  deps: BackfillDeps,
  work: { service: KnownService; request: BackfillStart; count: Count; floor: number },
  objects: readonly ObjectInfo[],
): Promise<void> {
  const { service, request, count, floor } = work;
  const statuses = await offerAll(
    deps,
    objects.map((object) => ({ service, object })),
    { source: 'backfill', afresh: true, again: request.again ? request.backfill_id : undefined },
  );
  count.objects += objects.length;
  for (const [at, status] of statuses.entries()) {
    if (status === 'claimed') count.claimed += 1;
    if (status !== 'unfinished') continue;
    count.unfinished += 1;
    if ((objects[at]?.changedAt ?? 0) <= floor) count.stuck += 1;
  }
}

/** What to list, and the input prefix that decides which keys below it are inputs. */
interface WantedPath extends BucketPath {
  readonly input: string;
}

/**
 * The part of each input path that a request is about.
 * @param prefix `bucket/<beginning of the keys>`, or empty for all input paths
 */
function wantedPaths(service: KnownService, prefix: string): readonly WantedPath[] {
  const slash = prefix.indexOf('/');
  const bucket = slash < 0 ? prefix : prefix.slice(0, slash);
  const begin = slash < 0 ? '' : prefix.slice(slash + 1);
  const paths: WantedPath[] = [];
  for (const input of service.inputs) {
    if (prefix !== '' && bucket !== input.bucket) continue;
    // The longer of the two; where neither begins with the other they have no key in common.
    const listed = begin.length > input.prefix.length ? begin : input.prefix;
    if (listed.startsWith(begin) && listed.startsWith(input.prefix)) {
      paths.push({ bucket: input.bucket, prefix: listed, input: input.prefix });
    }
  }
  if (paths.length === 0 && prefix !== '') {
    throw new AppError('invalid_input', `"${prefix}" lies in no input path of service ${service.name}.`, {
      field: 'prefix',
    });
  }
  return paths;
}
