import type { PruneReport } from '@sluice/shared/contracts';
import { messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import type { ImageUses } from '../clean-up-ports.ts';
import { pinnedDigests } from '../domain/image-references.ts';
import { keepingTag, type RetentionPolicy } from '../domain/retention.ts';
import type { ImageRegistry } from '../ports.ts';
import { eachOf } from './each-of.ts';
import { readDemand, type ImageDemand, type ImageDemandDeps } from './image-demand.ts';
import { pruneCaches, pruneImages, type PruneNotes, type PruneUserDeps } from './prune-user.ts';

export interface PrunerDeps extends ImageDemandDeps {
  readonly registry: Pick<ImageRegistry, 'tags' | 'digestOf' | 'details' | 'removeTag' | 'tag'>;
  readonly uses: ImageUses;
  /** Users beside those of whom a use is noted: all accounts that there are. */
  readonly logins: () => Promise<readonly string[]>;
  readonly pushHost: string;
  readonly policy: RetentionPolicy;
  /** Milliseconds that a layer cache is kept without builds; undefined: for ever. */
  readonly cacheUnusedMs: number | undefined;
  /** Milliseconds that one round may take; the next one goes on where it ended. */
  readonly roundMs: number;
  /** Gets the bytes of all users' images, as a round that saw them all found them. */
  readonly measured?: (bytes: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface Pruner {
  /**
   * Removes the images that the policy takes. Single failures are told of in the report; without knowing what is in use nothing is done.
   * @throws AppError `unavailable`
   */
  prune(options: {
    readonly dryRun: boolean;
    readonly signal?: AbortSignal | undefined;
  }): Promise<PruneReport>;
  /**
   * Gives a tag to images that services name by digest and no tag leads to, before a collection would take them.
   * @throws AppError `unavailable` where it is not sure that all have one
   */
  protect(signal: AbortSignal): Promise<void>;
}

/** Milliseconds for which what is in use counts as known. */
const demandFreshMs = 5000;
/** Entries of each list of a report. */
const maxEntries = 1000;
/** After that many failures without a success between them the registry is away, and the round ends. */
const maxFailures = 10;
const userForm = /^[a-z0-9]{1,61}$/;

/** Retention of users' images. Rounds may overlap and be broken off anywhere. */
export function createPruner(deps: PrunerDeps): Pruner {
  let goOnAfter = '';
  return {
    prune: async ({ dryRun, signal = new AbortController().signal }) => {
      const report = createReport(dryRun);
      const until = deps.clock.monotonic() + deps.roundMs;
      const demand = freshDemand(deps);
      let isWhole = true;
      await demand();
      for (const user of inTurn(await usersOf(deps), goOnAfter)) {
        signal.throwIfAborted();
        if (deps.clock.monotonic() > until || report.isHopeless()) {
          isWhole = false;
          break;
        }
        const work: PruneUserDeps = {
          ...deps,
          now: () => deps.clock.now(),
          demand,
          notes: report,
          dryRun,
          signal,
        };
        await pruneUser(work, user);
        if (!dryRun) goOnAfter = user;
      }
      const made = report.made();
      if (isWhole && report.counts().failed === 0) deps.measured?.(report.bytes());
      deps.log.info({ ...report.counts(), dryRun }, 'retention of images is done');
      return made;
    },
    protect: async (signal) => protect(deps, signal),
  };
}

async function pruneUser(work: PruneUserDeps, user: string): Promise<void> {
  for (const prune of [pruneImages, pruneCaches]) {
    try {
      await prune(work, user);
    } catch (error) {
      work.signal.throwIfAborted();
      work.notes.failed(user, error);
    }
  }
}

async function usersOf(deps: PrunerDeps): Promise<readonly string[]> {
  const users = [...(await deps.uses.users()), ...(await deps.logins())];
  return [...new Set(users)].filter((user) => userForm.test(user)).sort();
}

/** Those after the last one first, so that a round that was too long does not leave out the same users for ever. */
function inTurn(users: readonly string[], after: string): readonly string[] {
  return [...users.filter((user) => user > after), ...users.filter((user) => user <= after)];
}

function freshDemand(deps: PrunerDeps): () => Promise<ImageDemand> {
  let known: { readonly demand: ImageDemand; readonly until: number } | undefined;
  return async () => {
    if (known !== undefined && deps.clock.monotonic() < known.until) return known.demand;
    // Counted from before it is read.
    const until = deps.clock.monotonic() + demandFreshMs;
    known = { demand: await readDemand(deps), until };
    return known.demand;
  };
}

interface Report extends PruneNotes {
  made(): PruneReport;
  bytes(): number;
  counts(): Readonly<Record<'removed' | 'kept' | 'failed', number>>;
}

function createReport(dryRun: boolean): Report {
  const removed: { image: string; why: string }[] = [];
  const kept: { image: string; why: string }[] = [];
  const failed: { image: string; why: string }[] = [];
  const counts = { removed: 0, kept: 0, failed: 0 };
  let inARow = 0;
  let bytes = 0;
  const add = (list: { image: string; why: string }[], image: string, why: string): void => {
    if (list.length < maxEntries) list.push({ image, why });
  };
  return {
    answered: () => {
      inARow = 0;
    },
    measured: (more) => {
      bytes += more;
    },
    bytes: () => bytes,
    removed: (image, why) => {
      counts.removed += 1;
      inARow = 0;
      add(removed, image, why);
    },
    kept: (image, why) => {
      counts.kept += 1;
      add(kept, image, why);
    },
    failed: (image, error) => {
      counts.failed += 1;
      inARow += 1;
      add(failed, image, messageOf(error));
    },
    counts: () => counts,
    isHopeless: () => inARow >= maxFailures,
    made: () => {
      const more =
        counts.removed + counts.kept + counts.failed - removed.length - kept.length - failed.length;
      return {
        dry_run: dryRun,
        removed,
        kept,
        ...(failed.length === 0 ? {} : { failed }),
        ...(more === 0 ? {} : { more }),
      };
    },
  };
}

const inFlight = 4;

async function protect(deps: PrunerDeps, signal: AbortSignal): Promise<void> {
  const { registry, pushHost, log } = deps;
  const { definitions } = await readDemand(deps);
  for (const [path, pinned] of pinnedDigests(definitions, deps.hosts)) {
    const repository = `${pushHost}/${path}`;
    const tagged = new Set<string>();
    await eachOf(await registry.tags(repository), inFlight, signal, async (tag) => {
      const digest = await registry.digestOf(`${repository}:${tag}`);
      if (digest !== undefined) tagged.add(digest);
    });
    for (const digest of pinned) {
      if (tagged.has(digest) || (await registry.digestOf(`${repository}@${digest}`)) === undefined) continue;
      await registry.tag(repository, digest, keepingTag(digest));
      log.info({ repository, digest }, 'an image that a service names by its digest only was given a tag');
    }
  }
}
