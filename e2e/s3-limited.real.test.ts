import { createCipheriv, pbkdf2Sync, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'minio';
import { expect, test } from 'vitest';
import { openMinio, textOf, type Minio } from './support/minio.ts';
import { removeFolder, root, startServer, tempFolder } from './support/server.ts';
import { createService } from './support/service.ts';

/* The rights that docs/operation.md names are enough. */

async function admin(client: Client, call: string, query: string, body: Buffer): Promise<void> {
  const request = { method: 'PUT', bucketName: 'minio', objectName: `admin/v3/${call}`, query };
  const headers = { 'content-length': String(body.length) };
  client.enableSHA256 = false;
  const answer = await client.makeRequestStreamAsync({ ...request, headers }, body, '', [200], 'us-east-1');
  answer.resume();
}

/** As MinIO's administration takes secrets: PBKDF2, then one sealed block of a stream. */
function sealed(password: string, text: string): Buffer {
  const [salt, nonce] = [randomBytes(32), randomBytes(8)];
  const key = pbkdf2Sync(password, salt, 8192, 32, 'sha256');
  const seal = (count: number, about: Buffer, data: string): Buffer => {
    const counter = Buffer.alloc(4);
    counter.writeUInt32LE(count);
    const cipher = createCipheriv('aes-256-gcm', key, Buffer.concat([nonce, counter])).setAAD(about);
    return Buffer.concat([cipher.update(data, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  };
  const about = Buffer.concat([Buffer.from([0x80]), seal(0, Buffer.alloc(0), '')]);
  return Buffer.concat([salt, Buffer.from([2]), nonce, seal(1, about, text)]);
}

async function addKey(
  { client, secretKey }: Minio,
  actions: readonly string[],
): Promise<Record<string, string>> {
  const [name, secret] = ['limited-key', randomBytes(16).toString('hex')];
  const statement = { Effect: 'Allow', Action: actions, Resource: ['arn:aws:s3:::*'] };
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
  await admin(client, 'add-canned-policy', 'name=limited', Buffer.from(policy));
  const user = JSON.stringify({ secretKey: secret, status: 'enabled' });
  await admin(client, 'add-user', `accessKey=${name}`, sealed(secretKey, user));
  await admin(
    client,
    'set-user-or-group-policy',
    `isGroup=false&policyName=limited&userOrGroup=${name}`,
    Buffer.alloc(0),
  );
  return { MINIO_ACCESS_KEY: name, MINIO_SECRET_KEY: secret };
}

test('a key with the rights of the page is enough', async () => {
  const page = await readFile(join(root, 'docs/operation.md'), 'utf8');
  const about = /- \*\*The key\*\*[^]*?\n- /.exec(page)?.[0] ?? '';
  const actions = [...new Set(about.match(/s3:\w+/g))];
  expect(actions.length).toBeGreaterThan(10);
  const [minio, data] = await Promise.all([openMinio(), tempFolder()]);
  const server = await startServer({ data, env: { ...minio.env, ...(await addKey(minio, actions)) } });
  try {
    const name = `t${randomBytes(6).toString('hex')}`;
    await createService(server, name, 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n');
    await minio.client.putObject(name, 'in/a', 'a');
    expect(await textOf(minio.client, name, 'out/a')).toBe('a');
    const large = await server.request(`/system/buckets/${name}/objects/in/large`, {
      method: 'PUT',
      body: new Blob([Buffer.alloc(20_000_000)]).stream(),
      duplex: 'half',
    });
    expect(large.status).toBe(201);
    const other = `${name}-other`;
    const bucket = { method: 'POST', body: JSON.stringify({ bucket_name: other, visibility: 'private' }) };
    expect((await server.request('/system/buckets', bucket)).status).toBe(201);
    await minio.client.setBucketVersioning(other, { Status: 'Enabled' });
    for (const text of ['1', '2']) await minio.client.putObject(other, 'k', text);
    expect((await server.request(`/system/buckets/${other}`, { method: 'DELETE' })).status).toBe(204);
    expect((await server.request('/health')).status).toBe(200);
    expect(server.stderr()).not.toMatch(/denies|does not tell/);
  } finally {
    await server.stop();
    await minio.close();
    await removeFolder(data);
  }
}, 120_000);
