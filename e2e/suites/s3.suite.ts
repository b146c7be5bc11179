import { randomBytes } from 'node:crypto';
import { CopyDestinationOptions, CopySourceOptions, NotificationConfig, QueueConfig } from 'minio';
import { expect, test } from 'vitest';
import { keysOf, textOf, type Minio } from '../support/minio.ts';
import type { Installation } from '../support/server.ts';
import { createService, runsOf, small } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';

export const upper =
  '#!/bin/sh\ntr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$(basename "$INPUT_FILE_PATH")"\n';

/** A target of somebody else's, which nobody answers at; for the S3 server of an installation that goes through the suite. */
export const theirTarget = {
  MINIO_NOTIFY_WEBHOOK_ENABLE_THEIRS: 'on',
  MINIO_NOTIFY_WEBHOOK_ENDPOINT_THEIRS: 'http://127.0.0.1:9/hook',
};

export const newName = (): string => `t${randomBytes(6).toString('hex')}`;

/** Waits until each key has a run that succeeded; the keys of all runs, so that a second run of one shows. */
export async function ranKeys(
  installation: Installation,
  service: string,
  keys: readonly string[],
): Promise<string[]> {
  await waitFor(
    `the runs of ${service}`,
    async () => {
      const runs = await runsOf(installation, service);
      const done = new Set(runs.filter((run) => run.state === 'succeeded').map((run) => run.input?.key));
      return keys.every((key) => done.has(key)) ? true : undefined;
    },
    120_000,
  );
  return (await runsOf(installation, service)).map((run) => run.input?.key ?? '').toSorted();
}

/** An installation with its buckets on a real S3 server; files come and go by its own client. */
export function describeS3(world: () => Installation & { readonly minio: Minio }): void {
  test('gives clients keys that work', async () => {
    const answer = await world().request('/system/config');
    expect(await answer.json()).toMatchObject({
      minio_provider: {
        endpoint: world().minio.url,
        verify: true,
        access_key: world().minio.accessKey,
        secret_key: world().minio.secretKey,
        region: 'us-east-1',
      },
    });
  });

  test('runs every key once, whatever it is called and however it came', async () => {
    const name = newName();
    await createService(world(), name, upper, small);
    const { client } = world().minio;
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
    expect(await ranKeys(world(), name, all)).toEqual(all.toSorted());
    expect(await textOf(client, name, 'out/ümläut')).toBe('ÜMLÄUT'.replaceAll('Ü', 'ü').replaceAll('Ä', 'ä'));
  });

  test('uploads and downloads by presigned URLs of the S3 server', async () => {
    const name = newName();
    await createService(world(), name, upper, small);
    const presign = async (body: object): Promise<{ url: string; headers?: Record<string, string> }> => {
      const answer = await world().request(`/system/buckets/${name}/presign`, {
        method: 'POST',
        body: JSON.stringify(body),
      });
      expect(answer.status).toBe(200);
      return (await answer.json()) as { url: string };
    };
    const up = await presign({ object_key: 'in/a b+c.txt', operation: 'upload', content_type: 'text/plain' });
    expect(new URL(up.url).origin).toBe(world().minio.url);
    const put = await fetch(up.url, { method: 'PUT', body: 'hello', headers: up.headers ?? {} });
    expect(put.status, await put.text()).toBe(200);
    expect(await textOf(world().minio.client, name, 'out/a b+c.txt')).toBe('HELLO');
    const down = await presign({ object_key: 'out/a b+c.txt', operation: 'download' });
    expect(await (await fetch(down.url)).text()).toBe('HELLO');
    expect((await fetch(`${world().url}/objects/${name}/in/x`, { method: 'PUT', body: 'x' })).status).toBe(
      403,
    );
  });

  test('answers an upload that is refused, also where its body is large', async () => {
    const name = newName();
    await createService(world(), name, upper, small);
    const body = randomBytes(8_000_000);
    const path = `/system/buckets/${name}/objects/kept/large`;
    const put = async (headers: Record<string, string>): Promise<number> =>
      (await world().request(path, { method: 'PUT', body, headers })).status;
    expect(await put({})).toBe(201);
    expect(await put({ 'if-none-match': '*' })).toBe(412);
    expect(await put({ 'if-match': '"0123456789abcdef0123456789abcdef"' })).toBe(412);
    const absent = await world().request('/system/buckets/no-such-bucket-here/objects/k', {
      method: 'PUT',
      body,
    });
    expect(absent.status).toBe(404);
  });

  test('leaves the rules that others set on a bucket', async () => {
    const name = newName();
    const { client } = world().minio;
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
    await createService(world(), name, upper, small);
    const update = await world().request('/system/services', {
      method: 'PUT',
      body: JSON.stringify({
        name,
        ...small,
        script: upper,
        input: [{ storage_provider: 'minio.default', path: `${name}/other-in` }],
        output: [{ storage_provider: 'minio.default', path: `${name}/out` }],
      }),
    });
    expect([update.status, await update.text()]).toEqual([204, '']);
    await client.putObject(name, 'other-in/a', 'a');
    expect(await textOf(client, name, 'out/a')).toBe('A');
    expect((await world().request(`/system/services/${name}`, { method: 'DELETE' })).status).toBe(204);
    expect(JSON.parse(await client.getBucketPolicy(name))).toEqual(JSON.parse(policy));
    expect(await client.getBucketNotification(name)).toEqual(rulesBefore);
    expect(await client.getBucketTagging(name)).toEqual([{ Key: 'theirs', Value: 'yes' }]);
    expect(await keysOf(client, name, 'out/')).toContain('out/a');
  });
  test('a bucket that somebody deletes and makes again', async () => {
    const [name, other] = [newName(), newName()];
    await createService(world(), name, upper, small);
    await createService(world(), other, upper, small);
    const { client } = world().minio;
    await client.removeObjects(name, await keysOf(client, name));
    await client.removeBucket(name);
    await client.putObject(other, 'in/a', 'a');
    expect(await ranKeys(world(), other, ['in/a'])).toEqual(['in/a']);
    await client.makeBucket(name);
    await client.putObject(name, 'in/b', 'b');
    expect(await ranKeys(world(), name, ['in/b'])).toEqual(['in/b']);
  });
}
