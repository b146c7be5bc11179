import { AppError } from '@sluice/shared/errors';
import {
  SYSTEM_BUCKET,
  checkBucketName,
  splitPath,
  type BucketInfo,
  type DefinitionStore,
  type ObjectStore,
} from '@sluice/shared/stores';
import {
  accessTags,
  bucketEntry,
  bucketListing,
  BucketEntry,
  bucketTags,
  keyOfPage,
  visibilities,
  type BucketInput,
  type BucketListing,
} from '../domain/bucket-wire.ts';
import { encodeGoJson } from '../domain/go-json-encode.ts';
import { bucketsInUse } from './delete-service.ts';
import { putMarker } from './service-context.ts';

export interface BucketsContext {
  readonly objects: ObjectStore;
  readonly definitions: Pick<DefinitionStore, 'list'>;
  /** `OSCAR_NAME`: the owner of what the administrator makes (OSCAR §1.7). */
  readonly ownerTag: string;
  readonly ownerName: string;
  /** Objects on a page of a bucket. */
  readonly pageSize: number;
}

/** Buckets in OSCAR's words (OSCAR §1.7); errors carry its texts. The system bucket does not exist here. */
export interface Buckets {
  /** @throws AppError `invalid_input` */
  create(input: BucketInput): Promise<void>;
  /** @throws AppError `invalid_input`; `not_found`; `forbidden` for a bucket of a service */
  update(input: BucketInput): Promise<void>;
  /** The array of OSCAR §12.3 in pieces; `null` where there are no buckets. */
  list(): AsyncGenerator<string>;
  /** @throws AppError `not_found`, `invalid_input` for a page that was not given out */
  read(name: string, page: string | undefined): Promise<BucketListing>;
  /** @throws AppError `not_found`; `conflict` while a service uses it */
  remove(name: string): Promise<void>;
  /** @throws AppError `not_found` */
  get(name: string): Promise<BucketInfo>;
}

/** Objects that are counted for one bucket, and for all of a list: counting costs a look at each. */
const countLimit = 10_000;
const listCountLimit = 50_000;

export function createBuckets(context: BucketsContext): Buckets {
  const { objects } = context;
  const get: Buckets['get'] = async (name) => {
    const bucket =
      name === SYSTEM_BUCKET ? undefined : await objects.getBucket(name).catch(absentIfMalformed);
    if (bucket === undefined) throw new AppError('not_found', `The bucket '${name}' does not exist`);
    return bucket;
  };
  return {
    get,
    create: (input) => createBucket(input, context),
    update: (input) => updateBucket(input, context, get),
    list: () => listBuckets(objects),
    read: async (name, page) => {
      const after = page === undefined || page === '' ? undefined : keyOfPage(page);
      if (after === undefined && page !== undefined && page !== '') {
        throw new AppError('invalid_input', 'The page is not one that a listing gave out.', {
          field: 'page',
        });
      }
      const bucket = await get(name);
      const listed = await objects.list(name, {
        prefix: '',
        limit: context.pageSize,
        ...(after === undefined ? {} : { after }),
      });
      return bucketListing(bucket, await objects.usage(name, countLimit), listed);
    },
    remove: async (name) => {
      await get(name);
      const user = (await bucketsInUse(context.definitions)).get(name);
      if (user !== undefined) {
        throw new AppError(
          'conflict',
          `The bucket '${name}' is used by the service '${user}'; delete the service first`,
        );
      }
      await objects.deleteBucket(name);
    },
  };
}

/** A name that no bucket can have names no bucket. */
function absentIfMalformed(error: unknown): undefined {
  if (error instanceof AppError && error.code === 'invalid_input') return undefined;
  throw error;
}

async function createBucket(input: BucketInput, context: BucketsContext): Promise<void> {
  const { bucket, prefix, access } = readInput(input);
  const tags = { [bucketTags.owner]: context.ownerTag, [bucketTags.ownerName]: context.ownerName, ...access };
  const result = await context.objects.createBucket(bucket, tags);
  if (result === 'exists') {
    throw new AppError(
      'invalid_input',
      `Error creating bucket with name '${bucket}': the bucket "${bucket}" already exists\n`,
    );
  }
  if (prefix !== '') await putMarker(context.objects, bucket, prefix);
}

async function updateBucket(input: BucketInput, context: BucketsContext, get: Buckets['get']): Promise<void> {
  const { bucket, access } = readInput(input);
  const { tags } = await get(bucket);
  // OSCAR §10.17: creation writes `from_service`, so that is what the guard reads.
  if (tags[bucketTags.service] === 'true' || tags[bucketTags.fromService] !== undefined) {
    throw new AppError('forbidden', "Forbidden action: A bucket from a service can't be modified\n");
  }
  const { [bucketTags.allowedUsers]: _users, ...kept } = tags;
  await context.objects.setBucketTags(bucket, { ...kept, ...access });
}

function readInput(input: BucketInput): { bucket: string; prefix: string; access: Record<string, string> } {
  const { bucket, prefix } = splitPath(input.bucket_name, 'bucket_name');
  checkBucketName(bucket, 'bucket_name');
  const visibility = input.visibility === '' ? 'private' : input.visibility;
  if (!visibilities.some((known) => known === visibility)) {
    throw new AppError('invalid_input', `visibility must be one of ${visibilities.join(', ')}`, {
      field: 'visibility',
    });
  }
  const access = accessTags(visibility, input.allowed_users);
  if (access === undefined) {
    throw new AppError('invalid_input', 'allowed_users has more than 256 characters in all', {
      field: 'allowed_users',
    });
  }
  return { bucket, prefix, access };
}

async function* listBuckets(objects: ObjectStore): AsyncGenerator<string> {
  let cursor: string | undefined;
  let separator = '[';
  let budget = listCountLimit;
  do {
    const page = await objects.listBuckets({ limit: 100, ...(cursor === undefined ? {} : { cursor }) });
    for (const bucket of page.items) {
      if (bucket.name === SYSTEM_BUCKET) continue;
      const usage =
        budget > 0
          ? await objects.usage(bucket.name, Math.min(countLimit, budget))
          : { bytes: 0, objects: 0, complete: false };
      budget -= usage.objects;
      yield `${separator}${encodeGoJson(BucketEntry, bucketEntry(bucket, usage))}`;
      separator = ',';
    }
    cursor = page.next;
  } while (cursor !== undefined);
  // Go's nil slice (OSCAR §1.7).
  yield separator === '[' ? 'null' : ']';
}
