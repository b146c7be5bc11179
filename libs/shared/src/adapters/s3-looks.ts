import { clockChecks, doubt, fault, fine, type Look, seldom } from '../checks/index.ts';
import type { ComponentCheck } from '../contracts/index.ts';
import { type AppError, isAppError, messageOf } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { SYSTEM_BUCKET, type BucketPath } from '../stores/index.ts';
import { readHttpDate } from './http-date.ts';
import type { S3BucketRules } from './s3-bucket-rules.ts';
import { call, drain } from './s3-call.ts';
import { loadS3Clients, type S3Client, type S3Connection } from './s3-client.ts';

export interface S3LooksDeps {
  readonly connection: S3Connection;
  readonly clock: Clock;
}

export interface S3Looks {
  readonly looks: readonly Look[];
  close(): Promise<void>;
}

const clockEveryMs = 60_000;
const silenceMs = 5000;

/** What is looked at of the S3 server: whether the keys read the system bucket, and its clock. */
export async function openS3Looks({ connection, clock }: S3LooksDeps): Promise<S3Looks> {
  const s3 = (await loadS3Clients())({ ...connection, silenceMs });
  const { endpoint, verify, ca } = connection;
  const mend =
    'Start the server, or mend MINIO_ENDPOINT and what goes with it (MINIO_CA, MINIO_TLS_VERIFY, MINIO_REGION).';
  const date: Look = {
    name: 'S3 clock',
    mend,
    look: async () => {
      const reading = await readHttpDate({ url: endpoint, verify, ca, clock });
      return clockChecks('S3 clock', 'the S3 server', reading);
    },
  };
  return {
    looks: [
      { name: 'S3', mend, look: async () => [await keysCheck(s3, endpoint)] },
      seldom(date, clockEveryMs, clock),
    ],
    close: async () => {
      s3.close();
    },
  };
}

/** By the server's code: what to do about it. */
const mends: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: 'Set MINIO_ACCESS_KEY and MINIO_SECRET_KEY to a key that the server knows.',
  SignatureDoesNotMatch: 'Set MINIO_SECRET_KEY to the secret of MINIO_ACCESS_KEY.',
  AccessDenied: `Give the user of MINIO_ACCESS_KEY the rights to make buckets and to read and write all objects of ${SYSTEM_BUCKET} and of the services' buckets (MinIO: mc admin policy attach).`,
  AuthorizationHeaderMalformed: 'Set MINIO_REGION to the region of the server.',
  RequestTimeTooSkewed: 'Set the clocks of both machines by a time server (NTP).',
};

async function keysCheck(s3: S3Client, endpoint: URL): Promise<ComponentCheck> {
  const name = 'S3';
  try {
    await call('list the system bucket', async () => {
      const request = { method: 'GET', bucketName: SYSTEM_BUCKET, query: 'list-type=2&max-keys=1' };
      await drain(await s3.client.makeRequestAsync(request, '', [200], s3.region));
    });
    return fine(name, `${endpoint.origin} takes the keys, and the bucket ${SYSTEM_BUCKET} is there.`);
  } catch (error) {
    if (isAppError(error)) return refusalCheck(name, error);
    throw error;
  }
}

/** @throws AppError where the server said nothing */
function refusalCheck(name: string, error: AppError): ComponentCheck {
  const code = error.details?.['s3_code'];
  if (code === 'NoSuchBucket') {
    return fault(
      name,
      `The bucket ${SYSTEM_BUCKET} is not there.`,
      'Start the api, which makes it; where its keys may not make buckets, make it by hand. What was in it (logs, outcomes) is gone.',
    );
  }
  const mend = typeof code === 'string' ? mends[code] : undefined;
  if (mend === undefined) throw error;
  return fault(name, error.message, mend);
}

const rulesEveryMs = 60_000;
/** Of one look: each is a request. */
const maxBuckets = 200;
const maxNamed = 5;

export interface RulesLookDeps {
  readonly rules: Pick<S3BucketRules, 'covers'>;
  /** The input paths of all services. */
  readonly paths: () => Promise<readonly BucketPath[]>;
  /** SLUICE_NOTIFY_ARN */
  readonly arn: string;
  readonly clock: Clock;
}

/** Whether the S3 server has a rule for each input path; where it has none, new objects are found by listing alone. */
export function bucketRulesLook({ rules, paths, arn, clock }: RulesLookDeps): Look {
  const name = 'S3 notifications';
  const look = async (): Promise<readonly ComponentCheck[]> => {
    const wanted = [...Map.groupBy(await paths(), ({ bucket }) => bucket)].slice(0, maxBuckets);
    const without: string[] = [];
    for (const [bucket, of] of wanted) {
      const covered = await rules
        .covers(
          bucket,
          of.map(({ prefix }) => prefix),
        )
        .catch((error: unknown) => {
          // Nothing to watch there: the service's own check is another matter.
          if (isAppError(error, 'not_found')) return true;
          throw error;
        });
      if (!covered) without.push(bucket);
    }
    return [rulesCheck({ name, buckets: wanted.length, without, arn })];
  };
  const mend = `The keys need the rights s3:GetBucketNotification and s3:PutBucketNotification; SLUICE_NOTIFY_ARN is ${arn}.`;
  return seldom({ name, mend, look }, rulesEveryMs, clock);
}

export function rulesCheck(facts: {
  readonly name: string;
  readonly buckets: number;
  readonly without: readonly string[];
  readonly arn: string;
}): ComponentCheck {
  const { name, buckets, without, arn } = facts;
  if (without.length === 0) return fine(name, `All ${buckets} input buckets have their rule.`);
  const more = without.length > maxNamed ? ', …' : '';
  return doubt(
    name,
    `${without.length} of ${buckets} input buckets have no rule for all of their input paths: ${without.slice(0, maxNamed).join(', ')}${more}. New objects there are found by listing, later.`,
    `Does the S3 server have the target ${arn} (MinIO: MINIO_NOTIFY_NATS_… with that id)? Otherwise name another in SLUICE_NOTIFY_ARN, or none with "none". The log of storage-events says why a rule cannot be set.`,
  );
}

/** Whether the server makes short-lived keys for pods. */
export function assumeRoleLook(deps: {
  readonly assumeRole: () => Promise<unknown>;
  readonly clock: Clock;
}): Look {
  const name = 'S3 keys of pods';
  const mend =
    'Give the user of MINIO_ACCESS_KEY the right sts:AssumeRole; for a server without AssumeRole set SLUICE_POD_S3_ACCESS_KEY and SLUICE_POD_S3_SECRET_KEY.';
  return seldom(
    {
      name,
      mend,
      look: async () => {
        try {
          await deps.assumeRole();
          return [fine(name, 'Pods get short-lived keys (AssumeRole).')];
        } catch (error) {
          return [fault(name, messageOf(error), mend)];
        }
      },
    },
    rulesEveryMs,
    deps.clock,
  );
}
