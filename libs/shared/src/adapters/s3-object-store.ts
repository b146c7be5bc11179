import { AppError, isAppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { SYSTEM_BUCKET, type ObjectHead, type ObjectStore } from '../stores/index.ts';
import { checkPresignRequest } from './presign.ts';
import { bucketExists, createS3Buckets } from './s3-buckets.ts';
import { call } from './s3-call.ts';
import { loadS3Clients, type S3Connection } from './s3-client.ts';
import { fromS3Error } from './s3-errors.ts';
import { createS3Readers } from './s3-get.ts';
import { createS3Listen, type S3Listen } from './s3-listen.ts';
import { createS3Listing, listOne } from './s3-listing.ts';
import { checkPlace } from './s3-names.ts';
import { presignS3 } from './s3-presign.ts';
import { putS3Object } from './s3-put.ts';

export interface S3ObjectStoreDeps {
  readonly connection: S3Connection;
  /** What presigned URLs begin with, where clients reach the server by another address. @default the connection's */
  readonly publicEndpoint?: URL;
  readonly clock: Clock;
}

export interface S3ObjectStore extends ObjectStore {
  /** Tells of every object that was written through this store; @returns ends it. */
  onWrite(listener: (written: { readonly info: ObjectHead }) => void): () => void;
  readonly listen: S3Listen;
  /** Lets the connections go. */
  close(): Promise<void>;
}

/** Written over to read the server's clock. */
const clockKey = 'clock';

/** Objects on an S3 server. Needs no rule, policy or setting of the server's; what others set there stays as it is. */
export async function createS3ObjectStore(deps: S3ObjectStoreDeps): Promise<S3ObjectStore> {
  const createS3Client = await loadS3Clients();
  const s3 = createS3Client(deps.connection);
  const buckets = createS3Buckets(s3);
  const listeners = new Set<(written: { readonly info: ObjectHead }) => void>();
  const put: ObjectStore['put'] = async (bucket, key, body, options = {}) => {
    const info = await putS3Object(s3, { bucket, key }, body, options);
    if (bucket !== SYSTEM_BUCKET) for (const listener of listeners) listener({ info });
    return info;
  };
  const now = async (): Promise<number> => {
    // The `Date` header has whole seconds: what was written in the same second would count as older.
    await put(SYSTEM_BUCKET, clockKey, Buffer.from('x')).catch(async (error: unknown) => {
      if (!isAppError(error, 'not_found')) throw error;
      await buckets.createBucket(SYSTEM_BUCKET, {});
      await put(SYSTEM_BUCKET, clockKey, Buffer.from('x'));
    });
    const state = await listOne(s3, SYSTEM_BUCKET, clockKey);
    if (state === undefined) throw new AppError('unavailable', 'The clock of the S3 server cannot be read.');
    return state.lastModified;
  };
  return {
    ...buckets,
    ...createS3Readers(s3),
    ...createS3Listing(s3),
    listen: createS3Listen({
      connect: () => createS3Client(deps.connection),
      nudged: { key: clockKey, make: now },
    }),
    put,
    onWrite: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
    remove: async (bucket, key) => {
      checkPlace(bucket, key);
      await call(`remove the object ${key}`, async () => s3.client.removeObject(bucket, key));
    },
    presign: async (request) => {
      checkPresignRequest(request);
      if (!(await bucketExists(s3, request.bucket))) {
        throw new AppError('not_found', `The bucket ${request.bucket} does not exist.`);
      }
      return presignS3({ ...deps, endpoint: deps.publicEndpoint ?? deps.connection.endpoint }, request);
    },
    now,
    check: async () => {
      try {
        await s3.client.bucketExists(SYSTEM_BUCKET);
      } catch (error) {
        throw fromS3Error(error, 'reach the S3 server');
      }
    },
    close: async () => {
      s3.close();
    },
  };
}
