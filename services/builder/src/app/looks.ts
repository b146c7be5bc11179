import { doubt, fault, fine, isAtLeast, seldom, type Look } from '@sluice/shared/checks';
import type { ComponentCheck } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { CollectionState, RegistryProbe } from '../clean-up-ports.ts';
import type { BuildStore, ImageBuilder } from '../ports.ts';

export interface BuilderLooksDeps {
  readonly builder: Pick<ImageBuilder, 'version'>;
  readonly probe: RegistryProbe;
  /** Removes a manifest that cannot be there. @throws AppError `unsupported` where the registry deletes nothing */
  readonly deleteNothing: () => Promise<void>;
  readonly collection: Pick<CollectionState, 'underWay' | 'last'>;
  readonly store: Pick<BuildStore, 'open'>;
  /** The registry, as people know it: `registry:5000`. */
  readonly registry: string;
  readonly clock: Clock;
}

/** These ask other servers and start a program: not at each word of a process. */
const everyMs = 30_000;
/** Its failures are told apart by texts that are of no older version. */
const leastBuildKit = [0, 13] as const;
/** Milliseconds that a build may wait before it looks as if nobody took it. */
const longWaitMs = 15 * 60_000;
/** Another worker puts a collection right within a minute. */
const leftBehindMs = 120_000;

/** What builds depend on, for `GET /system/checks`. */
export function builderLooks(deps: BuilderLooksDeps): readonly Look[] {
  const looks: readonly Look[] = [
    {
      name: 'BuildKit',
      mend: 'Start buildkitd, or mend BUILDKIT_HOST and its certificates; a build fails when it was tried SLUICE_BUILD_ATTEMPTS times.',
      look: async () => [versionCheck(await deps.builder.version())],
    },
    {
      name: 'image registry',
      mend: `The registry ${deps.registry} has to be reachable from the builder, with SLUICE_REGISTRY_USER and SLUICE_REGISTRY_PASSWORD; a CA of your own goes into SLUICE_REGISTRY_CA.`,
      look: async () => registryChecks(deps),
    },
    {
      name: 'registry collection',
      mend: 'Redis has to be reachable: see its own checks.',
      look: async () => [await collectionCheck(deps)],
    },
    {
      name: 'builds that wait',
      mend: 'Redis has to be reachable: see its own checks.',
      look: async () => [await waitCheck(deps)],
    },
  ];
  return looks.map((look) => seldom(look, everyMs, deps.clock));
}

function versionCheck(version: string | undefined): ComponentCheck {
  const name = 'BuildKit';
  // One that was built from source says v0.0.0.
  if (version === undefined || version.startsWith('v0.0.0')) return fine(name, 'It answers.');
  if (isAtLeast(version, leastBuildKit) !== false) return fine(name, `It answers; version ${version}.`);
  return doubt(
    name,
    `Its version is ${version}.`,
    `Use BuildKit ${leastBuildKit.join('.')} or newer: causes of failures are not understood with an older one.`,
  );
}

async function registryChecks(deps: BuilderLooksDeps): Promise<readonly ComponentCheck[]> {
  const { probe, registry, collection } = deps;
  const name = 'image registry';
  if (await probe.takesPushes()) return [fine(name, `${registry} takes images.`), await deletionCheck(deps)];
  if ((await collection.underWay()) !== undefined)
    return [fine(name, `${registry} is read-only while it is collected.`)];
  return [
    fault(
      name,
      `${registry} is read-only, and no collection is under way.`,
      'Restart it without REGISTRY_STORAGE_MAINTENANCE_READONLY; what makes it writable is SLUICE_REGISTRY_WRITABLE_COMMAND or SLUICE_REGISTRY_WORKLOAD.',
    ),
  ];
}

async function deletionCheck({ deleteNothing, registry }: BuilderLooksDeps): Promise<ComponentCheck> {
  const name = 'registry deletion';
  try {
    await deleteNothing();
  } catch (error) {
    if (!isAppError(error, 'unsupported') && !isAppError(error, 'forbidden')) throw error;
    return doubt(
      name,
      isAppError(error, 'forbidden') ? error.message : `${registry} deletes nothing, so it only ever grows.`,
      'Set REGISTRY_STORAGE_DELETE_ENABLED=true for the registry, and give SLUICE_REGISTRY_USER the right to delete.',
    );
  }
  return fine(name, `${registry} deletes what retention removes.`);
}

async function collectionCheck({ collection, clock }: BuilderLooksDeps): Promise<ComponentCheck> {
  const name = 'registry collection';
  const current = await collection.underWay();
  if (current !== undefined) {
    const late = clock.now() - current.deadline;
    if (late < leftBehindMs) return fine(name, `Under way (${current.phase}).`);
    return fault(
      name,
      `One was left behind ${minutes(late)} ago (${current.phase}); no build begins until it is put right.`,
      'A builder does that by itself: its log says what keeps it from it ("could not be brought back to work").',
    );
  }
  const last = await collection.last();
  if (last === undefined) return fine(name, 'None yet.');
  const { outcome } = last;
  if (outcome.state === 'done')
    return fine(name, `The last one ended ${minutes(clock.now() - last.at)} ago.`);
  const why = outcome.state === 'undone' ? `its process was lost (${outcome.phase})` : outcome.why;
  return doubt(
    name,
    `The last one did not succeed: ${why}`,
    'It is tried again at its next time. If builds never pause for long enough, set a longer SLUICE_REGISTRY_DRAIN_TIMEOUT.',
  );
}

async function waitCheck({ store, clock }: BuilderLooksDeps): Promise<ComponentCheck> {
  const name = 'builds that wait';
  const open = await store.open();
  const waiting = open.filter(({ state }) => state === 'queued');
  const running = open.length - waiting.length;
  const longest = Math.max(0, ...waiting.map(({ createdAt }) => clock.now() - createdAt));
  const numbers = `${waiting.length} wait, ${running} run`;
  if (longest < longWaitMs) return fine(name, `${numbers}.`);
  return doubt(
    name,
    `One has waited for ${minutes(longest)}: ${numbers}.`,
    running === 0
      ? 'No builder takes any: see its log, and whether a collection holds the queue.'
      : 'Start more builders, or let each have more under way (SLUICE_BUILD_CONCURRENCY); SLUICE_BUILD_USER_CONCURRENCY bounds what one user gets.',
  );
}

function minutes(ms: number): string {
  const count = Math.round(Math.max(0, ms) / 60_000);
  return count === 1 ? 'a minute' : `${count} minutes`;
}
