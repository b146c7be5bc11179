import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openMinio, textOf, type Minio } from './support/minio.ts';
import { removeFolder, run, startRefused, startServer, tempFolder, type Finished } from './support/server.ts';
import { createService } from './support/service.ts';

/* What the server says at its start when the S3 server cannot be used, and TLS with an authority of one's own. */

let folder: string;
let plain: Minio;
let secure: Minio;

async function openssl(...args: readonly string[]): Promise<void> {
  const done = await run('openssl', args);
  if (done.code !== 0) throw new Error(`openssl ${args[0]}: ${done.stderr}`);
}

/** An authority, and a certificate of it for 127.0.0.1. */
async function makeCertificates(): Promise<void> {
  const at = (name: string): string => join(folder, 'certs', name);
  await mkdir(join(folder, 'certs'));
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await openssl(
    'req',
    '-x509',
    ...key,
    '-subj',
    '/CN=Test Authority',
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
  );
  const name = ['-subj', '/CN=minio', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const by = ['-CA', at('ca.pem'), '-CAkey', at('ca.key')];
  await openssl(
    'req',
    '-x509',
    ...key,
    ...name,
    ...by,
    '-keyout',
    at('private.key'),
    '-out',
    at('public.crt'),
  );
}

beforeAll(async () => {
  folder = await tempFolder();
  await makeCertificates();
  [plain, secure] = await Promise.all([openMinio(), openMinio({ certs: join(folder, 'certs') })]);
});
afterAll(async () => {
  await Promise.all([plain.close(), secure.close()]);
  await removeFolder(folder);
});

async function refused(env: Readonly<Record<string, string>>): Promise<Finished> {
  const done = await startRefused({ SLUICE_DATA: join(folder, `data-${Math.random()}`), ...env });
  expect(done.code).toBe(1);
  expect(done.stderr + done.stdout).not.toContain(plain.secretKey);
  return done;
}

describe('a start is refused', () => {
  test('with every fault of the variables at once', async () => {
    const done = await refused({ MINIO_ENDPOINT: 'minio:9000/path', MINIO_CA_FILE: '/no/such/file' });
    for (const name of ['MINIO_ENDPOINT', 'MINIO_CA_FILE']) expect(done.stderr).toContain(name);
    const keys = await refused({ MINIO_ENDPOINT: plain.url });
    for (const name of ['MINIO_ACCESS_KEY', 'MINIO_SECRET_KEY']) expect(keys.stderr).toContain(name);
  });

  test('by an S3 server that does not know the key', async () => {
    const wrongKey = await refused({ ...plain.env, MINIO_ACCESS_KEY: 'nobody-knows' });
    expect(wrongKey.stderr).toContain('MINIO_ACCESS_KEY');
    const wrongSecret = await refused({ ...plain.env, MINIO_SECRET_KEY: 'not-the-secret' });
    expect(wrongSecret.stderr).toMatch(/MINIO_(ACCESS|SECRET)_KEY/);
    expect(wrongSecret.stderr).not.toContain('not-the-secret');
  });

  test('while the S3 server is away', async () => {
    const done = await refused({ ...plain.env, MINIO_ENDPOINT: 'http://127.0.0.1:1' });
    expect(done.stderr).toContain('http://127.0.0.1:1');
    expect(done.stderr).toContain('MINIO_ENDPOINT');
  });

  test('by a certificate that nobody vouches for', async () => {
    const done = await refused(secure.env);
    expect(done.stderr).toContain('MINIO_CA_FILE');
    expect(done.stderr).toMatch(/certificate/i);
  });

  test('by a file of certificates that holds none', async () => {
    const done = await refused({ ...secure.env, MINIO_CA_FILE: join(folder, 'certs', 'ca.key') });
    expect(done.stderr).toContain('MINIO_CA');
  });
});

describe('over TLS', () => {
  test.each([
    ['MINIO_CA_FILE', () => ({ MINIO_CA_FILE: join(folder, 'certs', 'ca.pem') })],
    ['MINIO_TLS_VERIFY', () => ({ MINIO_TLS_VERIFY: 'false' })],
  ])('with %s files come and go', async (_, more) => {
    const data = await tempFolder();
    const server = await startServer({ data, env: { ...secure.env, ...more() } });
    try {
      const name = `tls-${Date.now().toString(36)}`;
      await createService(server, name, 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n');
      await secure.client.putObject(name, 'in/a.txt', 'over TLS');
      expect(await textOf(secure.client, name, 'out/a.txt')).toBe('over TLS');
    } finally {
      await server.stop();
      await removeFolder(data);
    }
  });
});
