import { AppError, isAppError } from '@sluice/shared/errors';
import type { CollectionState } from '../clean-up-ports.ts';

/** About as long as a collection takes. */
const retryAfterSeconds = 60;

/**
 * Changes something in the registry. What it refuses while its garbage is collected is no fault of the request, and passes: a registry that is read-only
 * answers as one that deletes nothing.
 * @throws AppError `unavailable` while a collection is under way, else whatever the change throws
 */
export async function change<T>(
  collection: Pick<CollectionState, 'underWay'>,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isAppError(error, 'unsupported') && !isAppError(error, 'unavailable')) throw error;
    const underWay = await collection.underWay().catch(() => undefined);
    if (underWay === undefined) throw error;
    throw new AppError(
      'unavailable',
      'The registry is being cleaned up and takes no change now. Ask again in a minute.',
      { retryAfterSeconds, cause: error },
    );
  }
}
