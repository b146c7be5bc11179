import { randomBytes } from 'node:crypto';
import {
  createS3BucketRules,
  createS3ObjectStore,
  type S3BucketRules,
  type S3ObjectStore,
} from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock } from '@sluice/shared/lifecycle';
import { splitPath } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { Client } from 'minio';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRuledNotifications } from '../../src/adapters/bucket-rules.ts';
import type { NotificationSource } from '../../src/ports.ts';
import { createSharedLeases } from '../support/shared-leases.ts';
import { silentSource } from '../support/world.ts';

const arn = process.env['SLUICE_NOTIFY_ARN'] ?? 'arn:minio:sqs::SLUICE:nats';
const lease = 'storage-events-rules';

let store: S3ObjectStore;
let client: Client;
let namespace: string;
let bucket: string;
const closing: (() => Promise<void>)[] = [];

beforeEach(async () => {
  store = await createS3ObjectStore({ connection: connection(), clock: systemClock });
  const { endpoint, accessKey, secretKey, region } = connection();
  client = new Client({
    endPoint: endpoint.hostname,
    port: Number(endpoint.port),
    useSSL: endpoint.protocol === 'https:',
    accessKey,
    secretKey: secretKey.reveal(),
    region,
  });
  namespace = `test-${randomBytes(4).toString('hex')}`;
  bucket = `rules-${randomBytes(8).toString('hex')}`;
  await store.createBucket(bucket, {});
});
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
  await store.deleteBucket(bucket);
  await store.close();
});

function connection() {
  const { MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY } = process.env;
  if (!MINIO_ENDPOINT || !MINIO_ACCESS_KEY || !MINIO_SECRET_KEY) {
    throw new Error(
      `this test needs a MinIO with the target ${arn}: set MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY`,
    );
  }
  const secretKey = new Secret(MINIO_SECRET_KEY);
  return {
    endpoint: new URL(MINIO_ENDPOINT),
    region: 'us-east-1',
    accessKey: MINIO_ACCESS_KEY,
    secretKey,
    verify: true,
  };
}

async function rules(target = arn): Promise<S3BucketRules> {
  const made = await createS3BucketRules({ connection: connection(), namespace, arn: target });
  closing.push(async () => made.close());
  return made;
}

/** As the package reads them: nothing of it is Sluice's. */
async function rulesThere(): Promise<readonly { readonly id: string; readonly prefix: string }[]> {
  const { QueueConfiguration: found } = await client.getBucketNotification(bucket);
  return found.map(({ Id: id, Filter: filter }) => ({ id, prefix: filter?.[0]?.Value ?? '' }));
}

async function ourPrefixes(): Promise<readonly string[]> {
  const ours = (await rulesThere()).filter(({ id }) => id.startsWith(`sluice-${namespace}-`));
  return ours.map(({ prefix }) => prefix).toSorted();
}

const theirs = `<QueueConfiguration><Id>theirs</Id><Queue>${arn}</Queue><Event>s3:ObjectRemoved:*</Event><Filter><S3Key><FilterRule><Name>suffix</Name><Value>&amp;.jpg</Value></FilterRule></S3Key></Filter></QueueConfiguration>`;

async function setTheirs(): Promise<void> {
  const body = Buffer.from(`<NotificationConfiguration>${theirs}</NotificationConfiguration>`);
  const request = { method: 'PUT', bucketName: bucket, query: 'notification' };
  (await client.makeRequestAsync(request, body, [200], 'us-east-1')).resume();
}

test("rules of ours come and go, nested ones as one, and somebody else's stays", async () => {
  await setTheirs();
  const ours = await rules();
  const prefixes = ['in/', 'in/deep/', 'ü & <more>/', 'a\\b/'];
  expect(await ours.set(bucket, prefixes)).toBe('changed');
  expect(await ours.set(bucket, prefixes.toReversed())).toBe('same');
  expect(await ourPrefixes()).toEqual(['a', 'in/', 'ü & <more>/']);
  expect(await ours.covers(bucket, prefixes)).toBe(true);
  expect(await ours.covers(bucket, ['other/'])).toBe(false);
  expect(await ours.set(bucket, ['in/deep/'])).toBe('changed');
  expect(await ourPrefixes()).toEqual(['in/deep/']);
  expect(await ours.set(bucket, [])).toBe('changed');
  expect(await ourPrefixes()).toEqual([]);
  expect((await rulesThere()).map(({ id }) => id)).toEqual(['theirs']);
});

test('a target that the server does not have, and a bucket that is not there, are said', async () => {
  const wrong = await rules('arn:minio:sqs::NOBODY:nats');
  await expect(wrong.set(bucket, ['in/'])).rejects.toMatchObject({ code: 'unavailable' });
  await expect(wrong.set(bucket, ['in/'])).rejects.toThrow(
    /no target arn:minio:sqs::NOBODY:nats.*SLUICE_NOTIFY_ARN/,
  );
  await expect((await rules()).set(`${bucket}-x`, ['in/'])).rejects.toMatchObject({ code: 'not_found' });
});

interface Replica {
  readonly source: NotificationSource;
  readonly gaps: string[];
  kill(): void;
}

async function replica(
  name: string,
  leases: ReturnType<typeof createSharedLeases>,
  made: S3BucketRules,
): Promise<Replica> {
  const own = leases.replica(name);
  const gaps: string[] = [];
  const source = createRuledNotifications({
    source: silentSource,
    rules: made,
    leases: own,
    clock: systemClock,
    log: silentLogger(),
    checkEveryMs: 100,
  });
  await source.start({
    onNotifications: async () => {},
    onGap: ({ bucket: of, prefix }) => void gaps.push(`${of}/${prefix}`),
  });
  closing.push(async () => source.stop());
  return { source, gaps, kill: own.kill };
}

const paths = (...folders: readonly string[]) => folders.map((folder) => splitPath(`${bucket}/${folder}`));

test('one replica sets the rules, another waits for them; what somebody removes comes back, and its paths are listed', async () => {
  const leases = createSharedLeases();
  const first = await replica('first', leases, await rules());
  const second = await replica('second', leases, await rules());
  await first.source.setPrefixes(paths('in'));
  expect(leases.holder(lease)).toBe('first');
  expect(await ourPrefixes()).toEqual(['in/']);

  const waiting = second.source.setPrefixes(paths('in', 'more'));
  await first.source.setPrefixes(paths('in', 'more'));
  await waiting;
  expect(await ourPrefixes()).toEqual(['in/', 'more/']);

  await setTheirs();
  await eventually('the rules are there again', async () => (await ourPrefixes()).length === 2);
  expect(first.gaps.toSorted()).toEqual([`${bucket}/in/`, `${bucket}/more/`]);
  expect((await rulesThere()).map(({ id }) => id)).toContain('theirs');

  await first.source.setPrefixes(paths('more'));
  expect(await ourPrefixes()).toEqual(['more/']);
  await first.source.setPrefixes([]);
  expect(await ourPrefixes()).toEqual([]);
});

test('rules that nobody needs any more are found after a start; a killed replica is replaced', async () => {
  await (await rules()).set(bucket, ['forgotten/']);
  const leases = createSharedLeases();
  const first = await replica('first', leases, await rules());
  const second = await replica('second', leases, await rules());
  await first.source.setPrefixes([]);
  await eventually('the forgotten rule is gone', async () => (await ourPrefixes()).length === 0);
  expect(leases.holder(lease)).toBe('first');
  first.kill();
  await expect(second.source.setPrefixes(paths('in'))).rejects.toMatchObject({ code: 'unavailable' });
  await expect(second.source.check?.()).rejects.toThrow('no notification rule yet');
  await eventually('the other has taken over', async () => (await ourPrefixes()).length === 1, 25_000);
  await eventually('all is well', async () =>
    second.source.check?.().then(
      () => true,
      () => false,
    ),
  );
}, 40_000);
