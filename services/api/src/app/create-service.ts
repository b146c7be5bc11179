import { AppError, isAppError } from '@sluice/shared/errors';
import { separateSecrets } from '../domain/service-secrets.ts';
import { foldersOf } from '../domain/storage-path.ts';
import { refuseImage } from './image-policy.ts';
import { ensureBuckets, newFloors, prepareService, type ServiceContext } from './service-context.ts';

/**
 * Creates a service (OSCAR §1.2). Buckets that were made stay when a later step fails: they may hold data by then.
 * @returns what this installation will not do of it
 * @throws AppError `invalid_input` with OSCAR's texts, a taken name included; `unavailable`, `storage_full`
 */
export async function createService(body: Uint8Array, context: ServiceContext): Promise<readonly string[]> {
  const { definition, warnings } = prepareService(body, context);
  await refuseImage(definition.image, context.settings);
  if ((await context.definitions.get(definition.name)) !== undefined) throw taken();
  await ensureBuckets(definition, foldersOf(definition), context);
  const separated = separateSecrets(definition, context.random.hex(32), undefined);
  const floors = await newFloors(definition, undefined, context.objects);
  try {
    const stored = await context.definitions.create({ ...separated, floors });
    context.directory.remember(stored, separated.secrets.token);
  } catch (error) {
    throw isAppError(error, 'conflict') ? taken() : error;
  }
  context.log.info({ service: definition.name }, 'service created');
  return warnings;
}

function taken(): AppError {
  return new AppError('invalid_input', 'A service with the provided name already exists', { field: 'name' });
}
