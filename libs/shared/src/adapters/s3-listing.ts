import { buffer } from 'node:stream/consumers';
import { AppError } from '../errors/index.ts';
import { compareKeys, isObjectKey, type ObjectInfo, type ObjectStore } from '../stores/index.ts';
import { bucketExists } from './s3-buckets.ts';
import { call } from './s3-call.ts';
import type { S3Access } from './s3-client.ts';
import { s3Identity } from '../contracts/index.ts';
import { checkStoreBucket, encodeQuery } from './s3-names.ts';
import { elementsOf, keyIn, textOf } from './s3-xml.ts';
import { checkLimit } from './page-limit.ts';

/** Most objects that a server gives in one answer. */
const pageSize = 1000;

export interface Listed {
  readonly objects: readonly ObjectInfo[];
  /** All keys of the answer, folder markers and keys that Sluice cannot name included. */
  readonly keys: readonly string[];
  /** Present while there is more. */
  readonly marker?: string;
}

/** One answer of the server, as it came. */
export async function listOnce(
  s3: S3Access,
  bucket: string,
  query: { prefix: string; after: string; limit: number },
): Promise<Listed> {
  const answer = await list(s3, bucket, query, `list the bucket ${bucket}`);
  const keys: string[] = [];
  const objects: ObjectInfo[] = [];
  for (const content of elementsOf(answer, 'Contents')) {
    const key = keyIn(content);
    keys.push(key);
    // A marker of a folder, and what other clients named as no file can be named.
    if (key.endsWith('/') || !isObjectKey(key)) continue;
    objects.push(infoOf(bucket, key, content));
  }
  const last = keys.at(-1);
  return textOf(answer, 'IsTruncated') === 'true' && last !== undefined
    ? { objects, keys, marker: last }
    : { objects, keys };
}

/** The older form of listing: its marker may be any text, and has to be no token of the server's. */
async function list(
  s3: S3Access,
  bucketName: string,
  { prefix, after, limit }: { prefix: string; after: string; limit: number },
  what: string,
): Promise<string> {
  const marker = after === '' ? '' : `&marker=${encodeQuery(after)}`;
  const query = `delimiter=&encoding-type=url${marker}&max-keys=${limit}&prefix=${encodeQuery(prefix)}`;
  return call(what, async () => {
    const answer = await s3.client.makeRequestAsync(
      { method: 'GET', bucketName, query },
      '',
      [200],
      s3.region,
    );
    return (await buffer(answer)).toString();
  });
}

function infoOf(bucket: string, key: string, content: string): ObjectInfo {
  const etag = (textOf(content, 'ETag') ?? '').replaceAll('"', '');
  const lastModified = Date.parse(textOf(content, 'LastModified') ?? '') || 0;
  return {
    bucket,
    key,
    size: Number(textOf(content, 'Size') ?? 0),
    etag,
    identity: s3Identity({ etag, lastModifiedMs: BigInt(lastModified) }),
    lastModified,
    changedAt: lastModified,
  };
}

/** The state of one object as listings give it, which is the only place where its time is exact. */
export async function listOne(s3: S3Access, bucket: string, key: string): Promise<ObjectInfo | undefined> {
  // A folder marker is not among the objects, but has to be found here.
  const answer = await list(s3, bucket, { prefix: key, after: '', limit: 1 }, `list the object ${key}`);
  const [first] = elementsOf(answer, 'Contents');
  return first === undefined || keyIn(first) !== key ? undefined : infoOf(bucket, key, first);
}

export function createS3Listing(s3: S3Access): Pick<ObjectStore, 'list' | 'usage'> {
  return {
    list: async (bucket, { prefix, after, limit }) => {
      checkStoreBucket(bucket);
      checkLimit(limit);
      const from = startOf(prefix, after ?? '');
      if (from !== undefined) return listPage(s3, bucket, { prefix, after: from, limit });
      if (await bucketExists(s3, bucket)) return { objects: [] };
      throw new AppError('not_found', `The bucket ${bucket} does not exist.`);
    },
    usage: async (bucket, limit) => {
      checkStoreBucket(bucket);
      let bytes = 0;
      let objects = 0;
      let after: string | undefined = '';
      while (after !== undefined) {
        const page: Listed = await listOnce(s3, bucket, { prefix: '', after, limit: pageSize });
        for (const object of page.objects) {
          if (objects === limit) return { bytes, objects, complete: false };
          objects += 1;
          bytes += object.size;
        }
        after = page.marker;
      }
      return { bytes, objects, complete: true };
    },
  };
}

/**
 * Where a listing begins: undefined where nothing can be found. The server refuses a marker outside of the prefix, and a prefix that no
 * key can have.
 */
function startOf(prefix: string, after: string): string | undefined {
  const whole = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  if (whole !== '' && !isObjectKey(whole)) return undefined;
  if (after === '' || after.startsWith(prefix)) return after;
  return compareKeys(after, prefix) < 0 ? '' : undefined;
}

/** A page without markers: as many answers as it takes to fill it, and one object more to know whether it is the last. */
async function listPage(
  s3: S3Access,
  bucket: string,
  query: { prefix: string; after: string; limit: number },
): Promise<Awaited<ReturnType<ObjectStore['list']>>> {
  const objects: ObjectInfo[] = [];
  let after: string | undefined = query.after;
  while (after !== undefined && objects.length <= query.limit) {
    const more = Math.min(pageSize, query.limit + 1 - objects.length);
    const page: Listed = await listOnce(s3, bucket, { prefix: query.prefix, after, limit: more });
    objects.push(...page.objects);
    after = page.marker;
  }
  if (objects.length <= query.limit) return { objects };
  const shown = objects.slice(0, query.limit);
  const next = shown.at(-1)?.key;
  return next === undefined ? { objects: shown } : { objects: shown, next };
}
