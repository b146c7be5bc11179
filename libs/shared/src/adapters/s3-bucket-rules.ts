import { buffer } from 'node:stream/consumers';
import { AppError, isAppError } from '../errors/index.ts';
import { mergeRules, rulesCover, type RuleSettings } from './notification-rules.ts';
import { call, drain } from './s3-call.ts';
import { loadS3Clients, type S3Client, type S3Connection } from './s3-client.ts';
import { s3Code } from './s3-errors.ts';

/** Rules on buckets by which an S3 server tells a target of new objects. What others have set there stays as it is. */
export interface S3BucketRules {
  /**
   * Makes our rules on a bucket cover exactly these prefixes; none: our rules go.
   * @throws AppError `not_found` for a bucket that is not there, `unavailable` with the way out where the server refuses
   */
  set(bucket: string, prefixes: readonly string[]): Promise<'changed' | 'same'>;
  /** Whether the bucket has rules, ours or others', that cover all of these. */
  covers(bucket: string, prefixes: readonly string[]): Promise<boolean>;
  /** Every bucket of the server. */
  buckets(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface S3BucketRulesDeps extends RuleSettings {
  readonly connection: S3Connection;
}

/** What servers answer to a target that they do not have. */
const refusals: ReadonlySet<string> = new Set([
  'InvalidArgument',
  'InvalidARN',
  'ARNNotFound',
  'XMinioARNNotFound',
]);
const noRules: ReadonlySet<string> = new Set([
  'NotImplemented',
  'MethodNotAllowed',
  'UnsupportedNotification',
]);

export async function createS3BucketRules(deps: S3BucketRulesDeps): Promise<S3BucketRules> {
  const s3 = (await loadS3Clients())(deps.connection);
  return {
    set: async (bucket, prefixes) => {
      const merged = mergeRules(await read(s3, bucket), prefixes, deps);
      if (merged === undefined) return 'same';
      await write(s3, bucket, merged, deps.arn);
      return 'changed';
    },
    covers: async (bucket, prefixes) => rulesCover(await read(s3, bucket), prefixes, deps),
    buckets: async () => {
      const found = await call('list the buckets', async () => s3.client.listBuckets());
      return found.map(({ name }) => name);
    },
    close: async () => {
      s3.close();
    },
  };
}

/** As it came: the package's own form of it would lose what it does not know. */
async function read(s3: S3Client, bucketName: string): Promise<string> {
  return call(`read the notification rules of the bucket ${bucketName}`, async () => {
    const request = { method: 'GET', bucketName, query: 'notification' };
    const answer = await s3.client.makeRequestAsync(request, '', [200], s3.region);
    return (await buffer(answer)).toString();
  });
}

async function write(s3: S3Client, bucketName: string, configuration: string, arn: string): Promise<void> {
  try {
    await call(`set the notification rules of the bucket ${bucketName}`, async () => {
      const request = { method: 'PUT', bucketName, query: 'notification' };
      // As bytes: the package counts the characters of a text.
      const body = Buffer.from(configuration);
      await drain(await s3.client.makeRequestAsync(request, body, [200], s3.region));
    });
  } catch (error) {
    throw isAppError(error) ? withWayOut(error, bucketName, arn) : error;
  }
}

function withWayOut(error: AppError, bucket: string, arn: string): AppError {
  const code = s3Code(error.cause) ?? '';
  const start = `The S3 server refuses a notification rule on the bucket ${bucket} (${code})`;
  const options = { cause: error, details: error.details };
  if (refusals.has(code)) {
    return new AppError(
      'unavailable',
      `${start}: it has no target ${arn}. Configure one that publishes to the bus (MinIO: MINIO_NOTIFY_NATS_… or MINIO_NOTIFY_WEBHOOK_…), or name another in SLUICE_NOTIFY_ARN.`,
      options,
    );
  }
  if (noRules.has(code)) {
    return new AppError(
      'unavailable',
      `${start}: it or another rule there does not go with it. New objects are found by listing.`,
      options,
    );
  }
  return error;
}
