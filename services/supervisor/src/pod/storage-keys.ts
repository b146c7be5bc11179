import type { StorageGrant } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';

export interface StorageKeys {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken: string | undefined;
}

/** Milliseconds before their end from which on keys are renewed; a request that has begun with them may take as long. */
const spareMs = 300_000;
/** Milliseconds between two tries while the old ones still do. */
const pauseMs = 5000;

/**
 * The keys of a pod, renewed by the first request that finds them near their end: a pod that waits for its script asks for none.
 * @returns rejects with `unavailable` where they have ended and no new ones could be had
 */
export function createStorageKeys(deps: {
  readonly first: StorageGrant;
  readonly renew: () => Promise<StorageGrant>;
  readonly clock: Clock;
}): () => Promise<StorageKeys> {
  const { clock } = deps;
  let grant = deps.first;
  let renewing: Promise<void> | undefined;
  let tried = Number.NEGATIVE_INFINITY;
  const leftMs = (): number => (grant.expires_at ?? Number.POSITIVE_INFINITY) - clock.now();
  const renew = async (): Promise<void> => {
    tried = clock.monotonic();
    try {
      grant = await deps.renew();
    } catch (error) {
      if (leftMs() <= 0) {
        throw new AppError(
          'unavailable',
          'The keys for the storage have ended, and the scheduler gives no new ones.',
          {
            cause: error,
          },
        );
      }
    }
  };
  return async () => {
    const left = leftMs();
    if (left < spareMs && (left <= 0 || clock.monotonic() - tried > pauseMs)) {
      renewing ??= renew().finally(() => {
        renewing = undefined;
      });
      await renewing;
    }
    return { accessKey: grant.access_key, secretKey: grant.secret_key, sessionToken: grant.session_token };
  };
}
