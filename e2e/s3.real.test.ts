import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeS3, newName, ranKeys, theirTarget, upper } from './suites/s3.suite.ts';
import { openMinio, type Minio } from './support/minio.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { createService } from './support/service.ts';

/* The standalone server as a process with its buckets on a real MinIO; files come and go by MinIO's own client. */

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

describe('a server with its buckets on S3', () => {
  test('names the S3 server and has no folder of buckets', async () => {
    expect(server.stdout()).toContain(minio.url);
    expect(server.stdout()).toContain('MINIO_ENDPOINT');
    expect(server.stdout()).not.toContain(join(data, 'buckets'));
    const overview = (await (await server.request('/system/overview')).json()) as { adapters: object };
    expect(overview.adapters).toMatchObject({ objects: { chosen_by: 'MINIO_ENDPOINT' } });
  });

  describeS3(() => ({ ...server, minio }));
});

describe('what happens to the S3 server or the server', () => {
  test('files that came while the server was down are run at its next start, once each', async () => {
    const name = newName();
    await createService(server, name, upper);
    await minio.client.putObject(name, 'in/before', 'before');
    expect(await ranKeys(server, name, ['in/before'])).toEqual(['in/before']);
    await server.stop();
    const keys = Array.from({ length: 20 }, (_, at) => `in/while down ${at}`);
    for (const key of keys) await minio.client.putObject(name, key, key);
    server = await startServer({ data, env: env() });
    expect(await ranKeys(server, name, ['in/before', ...keys])).toEqual(['in/before', ...keys].toSorted());
  });

  test('after a kill as well', async () => {
    const name = newName();
    await createService(server, name, upper);
    const keys = Array.from({ length: 20 }, (_, at) => `in/${at}`);
    for (const key of keys.slice(0, 10)) await minio.client.putObject(name, key, key);
    await server.stop('SIGKILL');
    for (const key of keys.slice(10)) await minio.client.putObject(name, key, key);
    server = await startServer({ data, env: env() });
    expect(await ranKeys(server, name, keys)).toEqual(keys.toSorted());
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
    expect(await ranKeys(server, name, ['in/a', 'in/b', 'in/c'])).toEqual(['in/a', 'in/b', 'in/c']);
    expect(server.stderr()).toMatch(/S3 server/);
  });
});
