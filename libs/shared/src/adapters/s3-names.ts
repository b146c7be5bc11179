import { AppError } from '../errors/index.ts';
import { checkObjectKey, encodeObjectKey, isBucketName } from '../stores/index.ts';

/** @throws AppError `invalid_input`; the system bucket's name passes */
export function checkStoreBucket(bucket: string): void {
  if (!isBucketName(bucket)) {
    throw new AppError('invalid_input', `"${bucket}" is not a bucket name.`, { field: 'bucket' });
  }
}

/** @throws AppError `invalid_input` with field `bucket` or `key` */
export function checkPlace(bucket: string, key: string): void {
  checkStoreBucket(bucket);
  checkObjectKey(key);
}

/** A text in a query, as it is signed. */
export function encodeQuery(text: string): string {
  return encodeObjectKey(text).replaceAll('/', '%2F');
}
