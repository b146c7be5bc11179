import { buffer } from 'node:stream/consumers';
import { AppError, isAppError } from '../errors/index.ts';
import { checkBucketName, SYSTEM_BUCKET, type BucketInfo, type ObjectStore } from '../stores/index.ts';
import { mapLimited } from './folder-limits.ts';
import { call } from './s3-call.ts';
import type { S3Access, S3Client } from './s3-client.ts';
import { fromS3Error, s3Code } from './s3-errors.ts';
import { checkStoreBucket } from './s3-names.ts';
import { elementsOf, keyIn, textOf } from './s3-xml.ts';
import { checkLimit } from './page-limit.ts';

type Buckets = Pick<
  ObjectStore,
  'createBucket' | 'getBucket' | 'setBucketTags' | 'listBuckets' | 'deleteBucket'
>;

/** Requests side by side for the tags of a page of buckets. */
const tagsAtOnce = 8;
/** Objects that go with one request. */
const removeBatch = 1000;
/** Times that a bucket into which somebody writes meanwhile is emptied again. */
const emptyings = 5;

export function createS3Buckets(s3: S3Client): Buckets {
  return {
    createBucket: async (name, tags) => {
      checkStoreBucket(name);
      if (await bucketExists(s3, name)) return 'exists';
      try {
        await s3.client.makeBucket(name, s3.region);
      } catch (error) {
        if (s3Code(error) === 'BucketAlreadyOwnedByYou') return 'exists';
        throw fromS3Error(error, `create the bucket ${name}`);
      }
      if (Object.keys(tags).length > 0) await setTags(s3, name, tags);
      return 'created';
    },
    getBucket: async (name) => {
      checkStoreBucket(name);
      const found = (await allBuckets(s3)).find((one) => one.name === name);
      return found === undefined ? undefined : withTags(s3, found);
    },
    setBucketTags: async (name, tags) => {
      checkStoreBucket(name);
      await setTags(s3, name, tags);
    },
    listBuckets: async ({ limit, cursor }) => {
      checkLimit(limit);
      const all = (await allBuckets(s3))
        .filter(({ name }) => name !== SYSTEM_BUCKET && (cursor === undefined || name > cursor))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
      const page = all.slice(0, limit);
      // One that was deleted meanwhile is left out.
      const items = (await mapLimited(page, tagsAtOnce, async (one) => withTags(s3, one))).filter(
        (one) => one !== undefined,
      );
      const last = page.at(-1)?.name;
      return all.length > limit && last !== undefined ? { items, next: last } : { items };
    },
    deleteBucket: async (name) => {
      checkBucketName(name);
      if (!(await bucketExists(s3, name))) {
        throw new AppError('not_found', `The bucket ${name} does not exist.`);
      }
      await deleteWithContent(s3, name);
    },
  };
}

async function allBuckets(
  s3: S3Client,
): Promise<readonly { readonly name: string; readonly createdAt: number }[]> {
  const found = await call('list the buckets', async () => s3.client.listBuckets());
  return found.map(({ name, creationDate }) => ({ name, createdAt: creationDate.getTime() }));
}

export async function bucketExists(s3: S3Access, name: string): Promise<boolean> {
  return call(`look for the bucket ${name}`, async () => s3.client.bucketExists(name));
}

/** Undefined where it is gone. */
async function withTags(
  s3: S3Client,
  { name, createdAt }: { readonly name: string; readonly createdAt: number },
): Promise<BucketInfo | undefined> {
  try {
    const tags = await call(`read the tags of the bucket ${name}`, async () => readTags(s3, name));
    return { name, createdAt, tags };
  } catch (error) {
    if (isAppError(error, 'not_found')) return undefined;
    throw error;
  }
}

async function readTags(s3: S3Client, name: string): Promise<Readonly<Record<string, string>>> {
  try {
    const query = { method: 'GET', bucketName: name, query: 'tagging' };
    const answer = await s3.client.makeRequestAsync(query, '', [200], s3.region);
    return tagsOf((await buffer(answer)).toString());
  } catch (error) {
    if (s3Code(error) === 'NoSuchTagSet') return {};
    throw error;
  }
}

function tagsOf(xml: string): Readonly<Record<string, string>> {
  const tags = elementsOf(xml, 'Tag').map((tag) => [textOf(tag, 'Key') ?? '', textOf(tag, 'Value') ?? '']);
  return Object.fromEntries(tags) as Record<string, string>;
}

async function setTags(s3: S3Client, name: string, tags: Readonly<Record<string, string>>): Promise<void> {
  await call(`set the tags of the bucket ${name}`, async () => {
    if (Object.keys(tags).length > 0) {
      await s3.client.setBucketTagging(name, { ...tags });
      return;
    }
    if (!(await s3.client.bucketExists(name)))
      throw new AppError('not_found', `The bucket ${name} does not exist.`);
    await s3.client.removeBucketTagging(name);
  });
}

async function deleteWithContent(s3: S3Client, name: string): Promise<void> {
  for (let emptying = 1; ; emptying += 1) {
    await empty(s3, name);
    try {
      await s3.client.removeBucket(name);
      return;
    } catch (error) {
      const code = s3Code(error);
      if (code === 'NoSuchBucket') return;
      if (code !== 'BucketNotEmpty' || emptying === emptyings)
        throw fromS3Error(error, `delete the bucket ${name}`);
    }
  }
}

/** Every version of every object, markers of folders and of deletions included. */
async function empty(s3: S3Client, name: string): Promise<void> {
  for (;;) {
    const found = await listVersions(s3, name);
    if (found.length === 0) return;
    await removeOddNames(s3, name, found);
    const failed = await call(`empty the bucket ${name}`, async () =>
      s3.client.removeObjects(name, found.filter(isPlain) as Parameters<typeof s3.client.removeObjects>[1]),
    );
    const [first] = failed;
    if (first !== undefined && first !== null) {
      throw new AppError(
        'unavailable',
        `The bucket ${name} cannot be emptied (${first.Error?.Code ?? 'unknown'}).`,
        {
          details: { failed: failed.length },
        },
      );
    }
  }
}

async function listVersions(s3: S3Client, bucketName: string): Promise<readonly Found[]> {
  const query = `encoding-type=url&max-keys=${removeBatch}&versions`;
  const xml = await call(`list the bucket ${bucketName}`, async () => {
    const answer = await s3.client.makeRequestAsync(
      { method: 'GET', bucketName, query },
      '',
      [200],
      s3.region,
    );
    return (await buffer(answer)).toString();
  });
  return [...elementsOf(xml, 'Version'), ...elementsOf(xml, 'DeleteMarker')].map((one) => {
    const versionId = textOf(one, 'VersionId') ?? 'null';
    return versionId === 'null' ? keyIn(one) : { name: keyIn(one), versionId };
  });
}

type Found = string | { readonly name: string; readonly versionId: string };

/** What XML can carry: names with other characters cannot be in a list of names. */
const xmlCharacters = /^[\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]*$/u;

function isPlain(found: Found): boolean {
  return xmlCharacters.test(typeof found === 'string' ? found : found.name);
}

async function removeOddNames(s3: S3Client, bucket: string, found: readonly Found[]): Promise<void> {
  for (const one of found) {
    if (isPlain(one)) continue;
    const [key, options] = typeof one === 'string' ? [one, {}] : [one.name, { versionId: one.versionId }];
    await call(`remove the object ${key}`, async () => s3.client.removeObject(bucket, key, options));
  }
}
