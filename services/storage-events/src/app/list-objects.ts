import { isAppError } from '@sluice/shared/errors';
import type { BucketPath, ObjectHead, ObjectInfo, ObjectStore } from '@sluice/shared/stores';
import { mapLimited } from '../limited.ts';

export interface ObjectPage {
  readonly objects: readonly ObjectInfo[];
  /** Where the next page begins; absent on the last. */
  readonly next?: string;
}

const pageSize = 1000;
const headsAtOnce = 16;

/** One page of what is below a path. A bucket that is not there has no objects. */
export async function listPage(
  objects: Pick<ObjectStore, 'list'>,
  { bucket, prefix }: BucketPath,
  after: string | undefined,
): Promise<ObjectPage> {
  try {
    return await objects.list(bucket, { prefix, limit: pageSize, ...(after === undefined ? {} : { after }) });
  } catch (error) {
    if (isAppError(error, 'not_found')) return { objects: [] };
    throw error;
  }
}

/** What HEAD says of each object now; undefined where it is gone. */
export async function headAll(
  store: Pick<ObjectStore, 'head'>,
  objects: readonly { readonly bucket: string; readonly key: string }[],
): Promise<readonly (ObjectHead | undefined)[]> {
  return mapLimited(objects, headsAtOnce, async ({ bucket, key }) => headOf(store, bucket, key));
}

/** HEAD, where a missing bucket and a key that the store can't have mean that there is no object. */
export async function headOf(
  store: Pick<ObjectStore, 'head'>,
  bucket: string,
  key: string,
): Promise<ObjectHead | undefined> {
  try {
    return await store.head(bucket, key);
  } catch (error) {
    if (isAppError(error, 'not_found') || isAppError(error, 'invalid_input')) return undefined;
    throw error;
  }
}
