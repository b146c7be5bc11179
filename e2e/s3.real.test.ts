import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CopyDestinationOptions, CopySourceOptions, NotificationConfig, QueueConfig } from 'minio';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keysOf, openMinio, textOf, type Minio } from './support/minio.ts';
import { removeFolder, root, startServer, tempFolder, type Server } from './support/server.ts';
import { createService, runsOf } from './support/service.ts';
import { waitFor } from './support/wait.ts';

/* The standalone server as a process with its buckets on a real MinIO; files come and go by MinIO's own client. */

const upper =
  '#!/bin/sh\ntr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$(basename "$INPUT_FILE_PATH")"\n';
const sample = (path: string): string => join(root, 'examples', path);

let minio: Minio;
let data: string;
let server: Server;
const env = (): Record<string, string> => ({ ...minio.env });

beforeAll(async () => {
  [minio, data] = await Promise.all([openMinio({ env: theirTarget }), tempFolder()]);
  server = await startServer({ data, env: env() });
});
afterAll(async () => {
  await server.stop();
  await minio.close();
  await removeFolder(data);
});

/** A target of somebody else's, which nobody answers at. */
const theirTarget = {
  MINIO_NOTIFY_WEBHOOK_ENABLE_THEIRS: 'on',
  MINIO_NOTIFY_WEBHOOK_ENDPOINT_THEIRS: 'http://127.0.0.1:9/hook',
};

const newName = (): string => `t${randomBytes(6).toString('hex')}`;

/** Waits until each key has a run that succeeded; the keys of all runs, so that a second run of one shows. */
async function ranKeys(service: string, keys: readonly string[]): Promise<string[]> {
  await waitFor(
    `the runs of ${service}`,
    async () => {
      const runs = await runsOf(server, service);
      const done = new Set(runs.filter((run) => run.state === 'succeeded').map((run) => run.input?.key));
      return keys.every((key) => done.has(key)) ? true : undefined;
    },
    120_000,
  );
  return (await runsOf(server, service)).map((run) => run.input?.key ?? '').toSorted();
}

describe('a server with its buckets on S3', () => {
  test('names the S3 server and has no folder of buckets', async () => {
    expect(server.stdout()).toContain(minio.url);
    expect(server.stdout()).toContain('MINIO_ENDPOINT');
    expect(server.stdout()).not.toContain(join(data, 'buckets'));
    const overview = (await (await server.request('/system/overview')).json()) as { adapters: object };
    expect(overview.adapters).toMatchObject({ objects: { chosen_by: 'MINIO_ENDPOINT' } });
  });

  test('gives clients keys that work', async () => {
    const answer = await server.request('/system/config');
    expect(await answer.json()).toMatchObject({
      minio_provider: {
        endpoint: minio.url,
        verify: true,
        access_key: minio.accessKey,
        secret_key: minio.secretKey,
        region: 'us-east-1',
      },
    });
  });

  test('runs the examples', async () => {
    for (const one of ['word-count', 'pipeline', 'thumbnail']) {
      const done = await server.sluice('apply', sample(`${one}/${one}.yaml`));
      expect(done.code, done.stdout + done.stderr).toBe(0);
    }
    const { client } = minio;
    await client.fPutObject('word-count', 'in/harbour.txt', sample('word-count/samples/harbour.txt'));
    await client.fPutObject('pipeline', 'in/readings.csv', sample('pipeline/samples/readings.csv'));
    await client.fPutObject('thumbnail', 'in/sunset.jpg', sample('thumbnail/samples/sunset.jpg'));
    for (const file of ['harbour.tsv', 'harbour-summary.txt']) {
      const expected = await readFile(sample(`word-count/expected/${file}`), 'utf8');
      expect(await textOf(client, 'word-count', `out/${file}`)).toBe(expected);
    }
    const report = 'readings-hilltop-report.json';
    const expected = await readFile(sample(`pipeline/expected/${report}`), 'utf8');
    expect(await textOf(client, 'pipeline', `reports/${report}`)).toBe(expected);
    await textOf(client, 'thumbnail', 'out/sunset-small.jpg');
    expect(await ranKeys('word-count', ['in/harbour.txt'])).toEqual(['in/harbour.txt']);
    expect(await ranKeys('pipeline-split', ['in/readings.csv'])).toEqual(['in/readings.csv']);
  });

  test('runs every key once, whatever it is called and however it came', async () => {
    const name = newName();
    await createService(server, name, upper);
    const { client } = minio;
    const odd = [
      'with space',
      'plus+sign',
      'per%20cent',
      '100%',
      'a&b=c;d',
      'ümläut',
      '日本語',
      '😀.txt',
      '007',
      'q\'uo"te',
    ];
    for (const key of odd) await client.putObject(name, `in/${key}`, key);
    // In parts, of 5 MiB and more.
    await client.putObject(name, 'other/large', Buffer.alloc(6_000_000, 'a'));
    const parts = new CopySourceOptions({ Bucket: name, Object: 'other/large' });
    const target = new CopyDestinationOptions({
      Bucket: name,
      Object: 'in/composed',
    });
    await client.composeObject(target, [parts, parts]);
    await client.copyObject(name, 'in/copied', `/${name}/in/007`);
    const all = [...odd, 'composed', 'copied'].map((key) => `in/${key}`);
    expect(await ranKeys(name, all)).toEqual(all.toSorted());
    expect(await textOf(client, name, 'out/ümläut')).toBe('ÜMLÄUT'.replaceAll('Ü', 'ü').replaceAll('Ä', 'ä'));
  });

  test('uploads and downloads by presigned URLs of the S3 server', async () => {
    const name = newName();
    await createService(server, name, upper);
    const presign = async (body: object): Promise<{ url: string; headers?: Record<string, string> }> => {
      const answer = await server.request(`/system/buckets/${name}/presign`, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      expect(answer.status).toBe(200);
      return (await answer.json()) as { url: string };
    };
    const up = await presign({ object_key: 'in/a b+c.txt', operation: 'upload', content_type: 'text/plain' });
    expect(new URL(up.url).origin).toBe(minio.url);
    const put = await fetch(up.url, { method: 'PUT', body: 'hello', headers: up.headers ?? {} });
    expect(put.status, await put.text()).toBe(200);
    expect(await textOf(minio.client, name, 'out/a b+c.txt')).toBe('HELLO');
    const down = await presign({ object_key: 'out/a b+c.txt', operation: 'download' });
    expect(await (await fetch(down.url)).text()).toBe('HELLO');
    expect((await fetch(`${server.url}/objects/${name}/in/x`, { method: 'PUT', body: 'x' })).status).toBe(
      403,
    );
  });

  test('answers an upload that is refused, also where its body is large', async () => {
    const name = newName();
    await createService(server, name, upper);
    const body = randomBytes(8_000_000);
    const path = `/system/buckets/${name}/objects/kept/large`;
    const put = async (headers: Record<string, string>): Promise<number> =>
      (await server.request(path, { method: 'PUT', body, headers })).status;
    expect(await put({})).toBe(201);
    expect(await put({ 'if-none-match': '*' })).toBe(412);
    expect(await put({ 'if-match': '"0123456789abcdef0123456789abcdef"' })).toBe(412);
    const absent = await server.request('/system/buckets/no-such-bucket-here/objects/k', {
      method: 'PUT',
      body,
    });
    expect(absent.status).toBe(404);
  });

  test('leaves the rules that others set on a bucket', async () => {
    const name = newName();
    const { client } = minio;
    await client.makeBucket(name);
    await client.setBucketTagging(name, { theirs: 'yes' });
    const policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: ['*'] },
          Action: ['s3:GetObject'],
          Resource: [`arn:aws:s3:::${name}/pub/*`],
        },
      ],
    });
    await client.setBucketPolicy(name, policy);
    const rule = new QueueConfig('arn:minio:sqs::THEIRS:webhook');
    rule.setId('theirs');
    rule.addFilterPrefix('other-in/');
    rule.addEvent('s3:ObjectCreated:*');
    const rules = new NotificationConfig();
    rules.add(rule);
    await client.setBucketNotification(name, rules);
    const rulesBefore = await client.getBucketNotification(name);
    expect(JSON.stringify(rulesBefore)).toContain('THEIRS');
    await createService(server, name, upper);
    const update = await server.request('/system/services', {
      method: 'PUT',
      body: JSON.stringify({
        name,
        image: 'example/any',
        script: upper,
        input: [{ storage_provider: 'minio.default', path: `${name}/other-in` }],
        output: [{ storage_provider: 'minio.default', path: `${name}/out` }],
      }),
    });
    expect(update.status).toBe(204);
    await client.putObject(name, 'other-in/a', 'a');
    expect(await textOf(client, name, 'out/a')).toBe('A');
    expect((await server.request(`/system/services/${name}`, { method: 'DELETE' })).status).toBe(204);
    expect(JSON.parse(await client.getBucketPolicy(name))).toEqual(JSON.parse(policy));
    expect(await client.getBucketNotification(name)).toEqual(rulesBefore);
    expect(await client.getBucketTagging(name)).toEqual([{ Key: 'theirs', Value: 'yes' }]);
    expect(await keysOf(client, name, 'out/')).toContain('out/a');
  });
});

describe('what happens to the S3 server or the server', () => {
  test('files that came while the server was down are run at its next start, once each', async () => {
    const name = newName();
    await createService(server, name, upper);
    await minio.client.putObject(name, 'in/before', 'before');
    expect(await ranKeys(name, ['in/before'])).toEqual(['in/before']);
    await server.stop();
    const keys = Array.from({ length: 20 }, (_, at) => `in/while down ${at}`);
    for (const key of keys) await minio.client.putObject(name, key, key);
    server = await startServer({ data, env: env() });
    expect(await ranKeys(name, ['in/before', ...keys])).toEqual(['in/before', ...keys].toSorted());
  });

  test('after a kill as well', async () => {
    const name = newName();
    await createService(server, name, upper);
    const keys = Array.from({ length: 20 }, (_, at) => `in/${at}`);
    for (const key of keys.slice(0, 10)) await minio.client.putObject(name, key, key);
    await server.stop('SIGKILL');
    for (const key of keys.slice(10)) await minio.client.putObject(name, key, key);
    server = await startServer({ data, env: env() });
    expect(await ranKeys(name, keys)).toEqual(keys.toSorted());
  });

  test('an S3 server that goes away is said, and all goes on when it is back', async () => {
    const name = newName();
    await createService(server, name, upper);
    await minio.stop('SIGKILL');
    const refused = await server.request(`/system/buckets/${name}/objects/in/x`, {
      method: 'PUT',
      body: 'x',
    });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect((await server.request('/health')).status).toBe(200);
    await minio.start();
    for (const key of ['in/a', 'in/b', 'in/c']) await minio.client.putObject(name, key, key);
    expect(await ranKeys(name, ['in/a', 'in/b', 'in/c'])).toEqual(['in/a', 'in/b', 'in/c']);
    expect(server.stderr()).toMatch(/S3 server/);
  });

  test('a bucket that somebody deletes and makes again', async () => {
    const [name, other] = [newName(), newName()];
    await createService(server, name, upper);
    await createService(server, other, upper);
    const { client } = minio;
    await client.removeObjects(name, await keysOf(client, name));
    await client.removeBucket(name);
    await client.putObject(other, 'in/a', 'a');
    expect(await ranKeys(other, ['in/a'])).toEqual(['in/a']);
    await client.makeBucket(name);
    await client.putObject(name, 'in/b', 'b');
    expect(await ranKeys(name, ['in/b'])).toEqual(['in/b']);
  });
});
