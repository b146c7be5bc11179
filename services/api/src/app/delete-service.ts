import { activeStates } from '@sluice/shared/contracts';
import { AppError, messageOf } from '@sluice/shared/errors';
import type { DefinitionStore, ObjectStore, RunLedger, StoredDefinition } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { Bus } from '@sluice/shared/bus';
import { bucketTags } from '../domain/bucket-wire.ts';
import { bucketsOf } from '../domain/storage-path.ts';
import type { Random } from '../ports.ts';
import { cancelRun } from './cancel-run.ts';
import type { Directory } from './directory.ts';

export interface DeleteContext {
  readonly definitions: Pick<DefinitionStore, 'remove' | 'list'>;
  readonly objects: Pick<ObjectStore, 'getBucket' | 'deleteBucket'>;
  readonly ledger: Pick<RunLedger, 'list' | 'requestCancel'>;
  readonly bus: Pick<Bus, 'publish'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly directory: Pick<Directory, 'forget'>;
  readonly log: Logger;
}

const pageSize = 50;

/**
 * Deletes a service (OSCAR §1.5): the definition first, so that nothing new starts; the scheduler ends the waiting runs of a
 * service that is gone, those under way are cancelled here. Then its buckets with all that is in them, unless `keepBuckets`,
 * another service uses the bucket, or this service did not make it: data is kept in doubt (OSCAR §10.54).
 * @returns false where there is no such service
 * @throws AppError `unavailable` when the service is gone but something of it is not; the message says what
 */
export async function deleteService(
  name: string,
  options: { readonly keepBuckets: boolean },
  context: DeleteContext,
): Promise<boolean> {
  const removed = await context.definitions.remove(name);
  if (removed === undefined) return false;
  context.directory.forget(name, removed.uid);
  context.log.info({ service: name, keep_buckets: options.keepBuckets }, 'service deleted');
  await cancelActive(removed, context);
  if (!options.keepBuckets) await deleteBuckets(removed, context);
  return true;
}

async function cancelActive(removed: StoredDefinition, context: DeleteContext): Promise<void> {
  let cursor: string | undefined;
  do {
    const page = await context.ledger.list({
      serviceUid: removed.uid,
      states: activeStates,
      limit: pageSize,
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const run of page.items) await cancelRun(run, 'the service was deleted', context);
    cursor = page.next;
  } while (cursor !== undefined);
}

async function deleteBuckets(removed: StoredDefinition, context: DeleteContext): Promise<void> {
  const used = await bucketsInUse(context.definitions);
  const failures: string[] = [];
  for (const bucket of bucketsOf(removed.definition)) {
    if (used.has(bucket)) continue;
    try {
      const info = await context.objects.getBucket(bucket);
      if (info?.tags[bucketTags.fromService] === removed.name) await context.objects.deleteBucket(bucket);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      failures.push(`${bucket}: ${messageOf(error)}`);
    }
  }
  if (failures.length === 0) return;
  throw new AppError(
    'unavailable',
    `Error deleting service buckets: the service "${removed.name}" is deleted, these buckets are still there: ${failures.join('; ')}`,
  );
}

/** Buckets that the services there are read or write, from the store itself: a watch may be behind. */
export async function bucketsInUse(
  definitions: Pick<DefinitionStore, 'list'>,
): Promise<ReadonlyMap<string, string>> {
  const used = new Map<string, string>();
  let cursor: string | undefined;
  do {
    const page = await definitions.list({ limit: pageSize, ...(cursor === undefined ? {} : { cursor }) });
    for (const { name, definition } of page.items) {
      for (const bucket of bucketsOf(definition)) used.set(bucket, name);
    }
    cursor = page.next;
  } while (cursor !== undefined);
  return used;
}
