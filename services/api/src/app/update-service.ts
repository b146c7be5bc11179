import type { ServiceDefinition } from '@sluice/shared/contracts';
import { AppError, isAppError } from '@sluice/shared/errors';
import type { StoredDefinition } from '@sluice/shared/stores';
import { separateSecrets } from '../domain/service-secrets.ts';
import { foldersOf } from '../domain/storage-path.ts';
import { refuseImage } from './image-policy.ts';
import { keptAnnotations } from './lifecycle.ts';
import { ensureBuckets, newFloors, prepareService, type ServiceContext } from './service-context.ts';

/** Two writers at once: the second tries again on top of the first. */
const tries = 3;

/**
 * Updates a service (OSCAR §1.3): token, owner and namespace stay, secrets that are sent empty stay (OSCAR §10.49, 10.50).
 * @returns warnings, or undefined where there is no such service
 * @throws AppError `invalid_input`; `conflict` where others kept changing it meanwhile; `unavailable`
 */
export async function updateService(
  body: Uint8Array,
  context: ServiceContext,
): Promise<readonly string[] | undefined> {
  const { definition, warnings } = prepareService(body, context);
  for (let attempt = 1; ; attempt += 1) {
    const current = await context.definitions.get(definition.name);
    if (current === undefined) return undefined;
    if (attempt === 1) await refuseImage(definition.image, context.settings);
    try {
      const stored = await storeNext(definition, current, context);
      context.log.info({ service: definition.name, version: stored.version }, 'service updated');
      return warnings;
    } catch (error) {
      if (!isAppError(error, 'conflict') && !isAppError(error, 'not_found')) throw error;
      if (attempt < tries) continue;
      throw new AppError('conflict', 'Error updating the service: somebody else keeps changing it', {
        cause: error,
      });
    }
  }
}

async function storeNext(
  next: ServiceDefinition,
  current: StoredDefinition,
  context: ServiceContext,
): Promise<StoredDefinition> {
  const before = current.definition;
  const secrets = await context.definitions.secrets(current.uid, current.version);
  if (secrets === undefined) throw new AppError('conflict', 'The version is gone already.');
  const kept: ServiceDefinition = {
    ...next,
    annotations: keptAnnotations(before.annotations, next.annotations),
    owner: before.owner === '' ? next.owner : before.owner,
    ...(before.namespace === undefined ? {} : { namespace: before.namespace }),
  };
  const known = new Set(foldersOf(before).map(({ bucket, prefix }) => `${bucket}/${prefix}`));
  const added = foldersOf(kept).filter(({ bucket, prefix }) => !known.has(`${bucket}/${prefix}`));
  await ensureBuckets(kept, added, context);
  const separated = separateSecrets(kept, secrets.token, secrets);
  const floors = await newFloors(kept, before, context.objects);
  const expected = { uid: current.uid, version: current.version };
  const stored = await context.definitions.update(expected, { ...separated, floors });
  context.directory.remember(stored, secrets.token);
  return stored;
}
