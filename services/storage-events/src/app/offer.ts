import type { RunSource } from '@sluice/shared/contracts';
import type { ObjectHead, ObjectInfo, ObjectStore, RunLedger } from '@sluice/shared/stores';
import { runIdFor } from '../domain/build-run.ts';
import { isUnsettled } from '../domain/floors.ts';
import { chunksOf } from '../limited.ts';
import type { NotificationSource } from '../ports.ts';
import type { Acceptor, Wanted } from './accept.ts';
import type { KnownService } from './definitions.ts';
import { headAll } from './list-objects.ts';
import type { ClaimStatus } from './metrics.ts';

export interface OfferDeps {
  readonly objects: Pick<ObjectStore, 'list' | 'head' | 'now'>;
  readonly ledger: Pick<RunLedger, 'claimed'>;
  readonly source: NotificationSource;
  readonly acceptor: Acceptor;
  readonly settleMs: number;
}

/** An object of a listing that a service could be given. */
export interface Offer {
  readonly service: KnownService;
  readonly object: ObjectInfo;
}

/**
 * What became of an offer. `known`: it had its run, or was refused before. `unfinished`: still being written as far as one
 * can tell. `gone`: removed since it was listed.
 */
export type OfferStatus = ClaimStatus | 'known' | 'unfinished' | 'gone';

export interface OfferMode {
  readonly source: RunSource;
  /** See `RunContext.again`. */
  readonly again?: string | undefined;
  readonly afresh?: boolean;
}

/** Objects whose claim is asked for in one step of the ledger. */
const claimedBatch = 1000;

/**
 * Claims what a listing found and no claim covers. Costs the store one HEAD for each object that is new, and nothing for
 * the others.
 * @returns one status for each offer, in order
 */
export async function offerAll(
  deps: OfferDeps,
  offers: readonly Offer[],
  mode: OfferMode,
): Promise<readonly OfferStatus[]> {
  const statuses: OfferStatus[] = offers.map(() => 'known');
  const open = await unclaimed(deps, offers, mode);
  if (open.length === 0) return statuses;
  const heads = await completeHeads(
    deps,
    open.map((at) => offers[at]?.object).filter((object) => object !== undefined),
  );
  const wanted: Wanted[] = [];
  const places: number[] = [];
  for (const at of open) {
    const offer = offers[at];
    if (offer === undefined) continue;
    const head = heads.get(placeOf(offer.object));
    if (head === undefined || head === 'unfinished') {
      statuses[at] = head ?? 'gone';
      continue;
    }
    wanted.push({ service: offer.service, object: head, again: mode.again, afresh: mode.afresh === true });
    places.push(at);
  }
  const results = await deps.acceptor.claim(wanted, mode.source);
  for (const [index, at] of places.entries()) statuses[at] = results[index] ?? 'duplicate';
  return statuses;
}

/** Places in the list of the offers without a claim. */
async function unclaimed(
  deps: OfferDeps,
  offers: readonly Offer[],
  mode: OfferMode,
): Promise<readonly number[]> {
  const open: number[] = [];
  const ids = offers.map(({ service, object }) => runIdFor(service, object, mode.again));
  let at = 0;
  for (const batch of chunksOf(ids, claimedBatch)) {
    const claimed = await deps.ledger.claimed(batch);
    for (const [index, id] of batch.entries()) {
      const refused = mode.afresh !== true && deps.acceptor.refused(id);
      if (claimed[index] === false && !refused) open.push(at);
      at += 1;
    }
  }
  return open;
}

type Heads = ReadonlyMap<string, ObjectHead | 'unfinished' | undefined>;

async function completeHeads(deps: OfferDeps, listed: readonly ObjectInfo[]): Promise<Heads> {
  const heads = new Map<string, ObjectHead | 'unfinished' | undefined>();
  const now = await deps.objects.now();
  const unique = [...new Map(listed.map((object) => [placeOf(object), object])).values()];
  const atRest = unique.filter((object) => {
    const unsettled = isUnsettled(object.changedAt, now, deps.settleMs);
    if (unsettled) heads.set(placeOf(object), 'unfinished');
    return !unsettled;
  });
  deps.source.expect?.(unique.filter((object) => heads.has(placeOf(object))));
  const ready = deps.source.ready === undefined ? undefined : await deps.source.ready(atRest);
  const complete = atRest.filter((object, at) => {
    const isReady = ready === undefined || ready[at] === true;
    if (!isReady) heads.set(placeOf(object), 'unfinished');
    return isReady;
  });
  const found = await headAll(deps.objects, complete);
  for (const [at, object] of complete.entries()) {
    const head = found[at];
    // Overwritten since it was listed: as new as any.
    const changed = head !== undefined && head.identity !== object.identity;
    heads.set(
      placeOf(object),
      changed && isUnsettled(head.changedAt, now, deps.settleMs) ? 'unfinished' : head,
    );
  }
  return heads;
}

function placeOf({ bucket, key }: ObjectInfo): string {
  return `${bucket}/${key}`;
}
