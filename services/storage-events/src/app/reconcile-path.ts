import type { BucketPath, ObjectInfo } from '@sluice/shared/stores';
import { isSteady, type Moment } from '../domain/floors.ts';
import { isInputKey } from '../domain/match.ts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionCache, KnownService } from './definitions.ts';
import type { FloorBook } from './floors.ts';
import { listPage } from './list-objects.ts';
import { offerAll, type Offer, type OfferDeps, type OfferStatus } from './offer.ts';

export interface ReconcileDeps extends OfferDeps {
  readonly cache: DefinitionCache;
  readonly floors: FloorBook;
  readonly clock: Clock;
  /** Milliseconds; see `SLUICE_CLAIM_MARGIN`. */
  readonly marginMs: number;
}

/** One pass over one input path for all services that share it, in steps of bounded work. */
export interface PathPass {
  readonly path: BucketPath;
  /** When the pass began. */
  readonly began: Moment;
  /** Lists some pages; true when the pass is complete and floors have been raised. */
  step(): Promise<boolean>;
  /** Runs claimed so far. */
  found(): number;
}

interface Sharer {
  readonly service: KnownService;
  readonly floor: number;
  /** No object at or below the future floor is without a claim, so far. */
  complete: boolean;
}

const pagesAStep = 4;
/** A floor is raised once it is this part of the margin behind, so that a quiet prefix does not cost a write a minute. */
const raiseStep = 1 / 24;

/** @param before when the last pass over this path began; a floor rises only if the clock has been steady since then */
export async function beginPathPass(
  deps: ReconcileDeps,
  path: BucketPath,
  before: Moment | undefined,
): Promise<PathPass> {
  const wall = await deps.objects.now();
  const began: Moment = { wall, monotonic: deps.clock.monotonic() };
  const sharers: Sharer[] = [];
  for (const service of deps.cache.index().get(path.bucket)?.get(path.prefix) ?? []) {
    await deps.floors.refresh(service, wall);
    sharers.push({ service, floor: await deps.floors.of(service, path), complete: true });
  }
  const raiseTo = wall - deps.marginMs;
  let found = 0;
  let after: string | undefined;
  const finish = async (): Promise<void> => {
    if (before === undefined || !isSteady(before, began)) return;
    for (const { service, floor, complete } of sharers) {
      if (!complete || raiseTo - floor < deps.marginMs * raiseStep) continue;
      await deps.floors.raise(service, path, raiseTo);
    }
  };
  return {
    path,
    began,
    step: async () => {
      if (sharers.length === 0) return true;
      for (let page = 0; page < pagesAStep; page += 1) {
        const { objects, next } = await listPage(deps.objects, path, after);
        found += await examine(deps, path, sharers, objects, raiseTo);
        if (next === undefined) {
          await finish();
          return true;
        }
        after = next;
      }
      return false;
    },
    found: () => found,
  };
}

/** @returns how many runs were claimed */
async function examine(
  deps: ReconcileDeps,
  path: BucketPath,
  sharers: readonly Sharer[],
  objects: readonly ObjectInfo[],
  raiseTo: number,
): Promise<number> {
  const offers: Offer[] = [];
  const takers: Sharer[] = [];
  for (const object of objects) {
    if (!isInputKey(path.prefix, object.key)) continue;
    for (const sharer of sharers) {
      if (object.changedAt <= sharer.floor) continue;
      offers.push({ service: sharer.service, object });
      takers.push(sharer);
    }
  }
  if (offers.length === 0) return 0;
  const statuses = await offerAll(deps, offers, { source: 'reconciler' });
  for (const [at, status] of statuses.entries()) {
    const sharer = takers[at];
    const changedAt = offers[at]?.object.changedAt ?? raiseTo;
    if (sharer !== undefined && isOpen(status) && changedAt <= raiseTo) sharer.complete = false;
  }
  return statuses.filter((status) => status === 'claimed').length;
}

/** Still to be run, so that the floor must stay below it. */
function isOpen(status: OfferStatus): boolean {
  return status === 'unfinished' || status === 'postponed';
}
