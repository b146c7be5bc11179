/**
 * The identity of an S3 object in one state: what an event and a listing of that state both give, so that both lead to the same run.
 * Etag and time of writing; never a version, since a listing does not tell it.
 * @param object.lastModifiedMs as a listing has it; HEAD gives whole seconds only
 */
export function s3Identity(object: { readonly etag: string; readonly lastModifiedMs: bigint }): string {
  return `${object.etag}-${object.lastModifiedMs}`;
}
