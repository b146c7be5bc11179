import type { ServiceDefinition } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import type { BucketPath, DefinitionStore, Floor, ObjectStore, Settings } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { bucketTags } from '../domain/bucket-wire.ts';
import { faultText } from '../domain/faults.ts';
import { findLoop, linksOf } from '../domain/loops.ts';
import { normaliseService, type Stamp } from '../domain/service-normalise.ts';
import { validateService } from '../domain/service-validate.ts';
import { ownWarnings } from '../domain/service-warnings.ts';
import { decodeService, invalidService } from '../domain/service-wire.ts';
import { bucketsOf, foldersOf, ownPaths } from '../domain/storage-path.ts';
import type { Capabilities, Random } from '../ports.ts';
import type { Directory } from './directory.ts';

/** What the use cases of services share. */
export interface ServiceContext {
  readonly definitions: DefinitionStore;
  readonly objects: ObjectStore;
  readonly settings: Settings;
  readonly directory: Directory;
  readonly capabilities: Capabilities;
  readonly random: Random;
  readonly stamp: Stamp;
  readonly log: Logger;
}

/** A definition that may be stored; secrets are still in it. */
export interface Prepared {
  readonly definition: ServiceDefinition;
  /** What this installation will not do of it. */
  readonly warnings: readonly string[];
}

/**
 * Reads and checks a definition, reading nothing but what is in memory.
 * @throws AppError `invalid_input` with the texts of OSCAR §1.2
 */
export function prepareService(body: Uint8Array, context: ServiceContext): Prepared {
  const input = decodeService(body);
  const definition = normaliseService(input, context.stamp);
  const faults = [...validateService(definition, input)];
  if (faults.length === 0) faults.push(...context.capabilities.refuse(definition));
  if (faults.length > 0) throw invalidService(faultText(faults), faults[0]?.field);
  refuseLoop(definition, context.directory);
  return { definition, warnings: [...ownWarnings(definition), ...context.capabilities.warnings(definition)] };
}

function refuseLoop(definition: ServiceDefinition, directory: Directory): void {
  if (definition.sluice?.allow_loop === true) return;
  const others = [...directory.all()].map(({ links }) => links);
  const chain = findLoop(linksOf(definition), others);
  if (chain === undefined) return;
  throw invalidService(
    `output: what "${definition.name}" writes would start it again (${chain.join(' → ')}); set sluice.allow_loop if that is meant`,
    'output',
  );
}

/** Makes the buckets and folders of a definition; those that are there stay as they are. */
export async function ensureBuckets(
  definition: ServiceDefinition,
  folders: readonly BucketPath[],
  context: ServiceContext,
): Promise<void> {
  const tags = {
    // OSCAR §1.2, step 18: a user's id, or nothing for the administrator.
    [bucketTags.owner]: definition.owner === 'cluster_admin' ? '' : definition.owner,
    [bucketTags.fromService]: definition.name,
    [bucketTags.ownerName]: context.stamp.ownerName,
  };
  for (const bucket of bucketsOf(definition)) await context.objects.createBucket(bucket, tags);
  for (const { bucket, prefix } of folders) {
    if (prefix !== '') await putMarker(context.objects, bucket, prefix);
  }
}

/** Puts a folder marker unless it is there, so that stores with events see it once. */
export async function putMarker(objects: ObjectStore, bucket: string, prefix: string): Promise<void> {
  try {
    await objects.put(bucket, prefix, new Uint8Array(0), { ifNoneMatch: '*', size: 0 });
  } catch (error) {
    if (!isAppError(error, 'precondition_failed')) throw error;
  }
}

/** Floors of the input folders that `before` did not have: what lies there already is not run (`sluice backfill` runs it). */
export async function newFloors(
  definition: ServiceDefinition,
  before: ServiceDefinition | undefined,
  objects: ObjectStore,
): Promise<Floor[]> {
  const name = ({ bucket, prefix }: BucketPath): string => `${bucket}/${prefix}`;
  const known = new Set(before === undefined ? [] : ownPaths(before.input).map((path) => name(path)));
  const fresh = foldersOf({ input: definition.input, output: [] }).filter((path) => !known.has(name(path)));
  if (fresh.length === 0) return [];
  const at = await objects.now();
  return fresh.map(({ bucket, prefix }) => ({ bucket, prefix, at }));
}
