import {
  createAssumeRole,
  type AssumeRole,
  type S3Connection,
  type SessionKeys,
} from '@sluice/shared/adapters';
import type { Secret } from '@sluice/shared/config';
import type { StorageGrant } from '@sluice/shared/contracts';
import { AppError, isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { storagePolicy } from '../domain/storage-policy.ts';
import type { StorageGrants } from '../ports.ts';

export interface S3GrantsDeps {
  /** With keys that may do all that any service may. They never leave this process. */
  readonly connection: S3Connection;
  /** Address of the S3 server as pods reach it. */
  readonly podEndpoint: URL;
  /** Seconds that keys last; servers have their own bounds. @default 43200 */
  readonly durationSeconds?: number;
  /** Keys that every pod gets, for servers without short-lived ones. Weaker: they are not limited to one service, and do not expire. */
  readonly staticKeys?: { readonly accessKey: string; readonly secretKey: Secret };
  readonly clock: Clock;
  /** @default the S3 server's */
  readonly assumeRole?: AssumeRole;
}

interface Cached {
  readonly grant: StorageGrant;
  /** Monotonic milliseconds until which it is given again: half of its time is left. */
  readonly until: number;
}

const defaultDurationSeconds = 43_200;
/** Definitions whose keys are remembered. */
const rememberedGrants = 10_000;

/** Keys by the S3 server's `AssumeRole`, limited by `storagePolicy`; those of one definition are shared by its pods until half of their time is over. */
export function createS3Grants(deps: S3GrantsDeps): StorageGrants {
  const assumeRole = deps.assumeRole ?? createAssumeRole(deps);
  const cached = new Map<string, Cached>();
  const underWay = new Map<string, Promise<StorageGrant>>();
  const make = async (policy: string): Promise<StorageGrant> => {
    const { clock, durationSeconds = defaultDurationSeconds } = deps;
    const asked = clock.monotonic();
    const keys = await shortLived(assumeRole, policy, durationSeconds);
    const lifetimeMs = Math.min(keys.expiresAt - clock.now(), durationSeconds * 1000);
    const grant = grantOf(deps, keys);
    for (const oldest of cached.size < rememberedGrants ? [] : [...cached.keys()].slice(0, 1))
      cached.delete(oldest);
    cached.set(policy, { grant, until: asked + lifetimeMs / 2 });
    return grant;
  };
  return {
    grant: async (definition) => {
      if (deps.staticKeys !== undefined) return grantOf(deps, deps.staticKeys);
      const policy = storagePolicy(definition);
      const known = cached.get(policy);
      if (known !== undefined && deps.clock.monotonic() < known.until) return known.grant;
      const asking = underWay.get(policy) ?? make(policy).finally(() => underWay.delete(policy));
      underWay.set(policy, asking);
      return asking;
    },
  };
}

/** @throws AppError */
async function shortLived(
  assumeRole: AssumeRole,
  policy: string,
  durationSeconds: number,
): Promise<SessionKeys> {
  try {
    return await assumeRole({ policy, durationSeconds });
  } catch (error) {
    if (!isAppError(error, 'unsupported')) throw error;
    // The run waits until somebody has set them.
    throw new AppError(
      'unavailable',
      `${error.message} Set SLUICE_POD_S3_ACCESS_KEY and SLUICE_POD_S3_SECRET_KEY to keys that pods may have.`,
      {
        cause: error,
      },
    );
  }
}

function grantOf(
  { connection, podEndpoint }: S3GrantsDeps,
  keys: SessionKeys | NonNullable<S3GrantsDeps['staticKeys']>,
): StorageGrant {
  const { region, verify, ca } = connection;
  const { secretKey } = keys;
  return {
    endpoint: podEndpoint.origin,
    region,
    access_key: keys.accessKey,
    secret_key: typeof secretKey === 'string' ? secretKey : secretKey.reveal(),
    ...('sessionToken' in keys ? { session_token: keys.sessionToken, expires_at: keys.expiresAt } : {}),
    verify,
    ...(ca === undefined ? {} : { ca }),
  };
}
