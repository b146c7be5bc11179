import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createService } from './support/service.ts';
import { removeFolder, startRefused, startServer, tempFolder, type Server } from './support/server.ts';

let data: string;
let server: Server | undefined;

beforeEach(async () => {
  data = await tempFolder();
});
afterEach(async () => {
  await server?.stop('SIGKILL');
  server = undefined;
  await removeFolder(data);
});

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

describe('the first start', () => {
  test('makes folder, password and database for this user alone, and says all in one screen', async () => {
    server = await startServer({ data });
    expect(await modeOf(data)).toMatch(/^7[05]0?/);
    expect(await modeOf(join(data, 'admin-password'))).toBe('600');
    expect(await modeOf(join(data, 'server.json'))).toBe('600');
    expect(await modeOf(join(data, 'sluice.db'))).toBe('600');
    const screen = server.stdout();
    expect(screen).toContain(server.url);
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(screen).toContain(server.password);
    expect(screen).toContain(join(data, 'buckets'));
    for (const port of ['bus', 'definitions', 'ledger', 'objects', 'executor'])
      expect(screen).toContain(port);
    expect(screen).toMatch(/rights of user/);
    expect(screen).toMatch(/npx sluice/);
    expect(screen.split('\n').length).toBeLessThan(30);
  });

  test('shows the password only once and keeps it', async () => {
    server = await startServer({ data });
    const { password } = server;
    await server.stop();
    server = await startServer({ data });
    expect(server.password).toBe(password);
    expect(server.stdout()).not.toContain(password);
  });

  test("honours OSCAR's variables", async () => {
    server = await startServer({ data, env: { OSCAR_USERNAME: 'ada', OSCAR_PASSWORD: 'difference-engine' } });
    expect((await server.request('/system/info')).status).toBe(200);
    expect(server.username).toBe('ada');
    expect(server.stdout()).not.toContain('difference-engine');
  });
});

describe('is refused with a sentence', () => {
  test('when the port is taken', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => holder.once('listening', resolve));
    const address = holder.address();
    const port = typeof address === 'object' && address !== null ? String(address.port) : '';
    const refused = await startRefused({ SLUICE_DATA: data, OSCAR_SERVICE_PORT: port });
    holder.close();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(port);
    expect(refused.stderr).toContain('OSCAR_SERVICE_PORT');
    expect(refused.stderr).not.toMatch(/\n\s+at /);
  });

  test('when another instance has the folder', async () => {
    server = await startServer({ data });
    const refused = await startRefused({ SLUICE_DATA: data });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/in use|another/i);
    expect(refused.stderr).not.toMatch(/\n\s+at /);
    expect((await server.request('/health')).status).toBe(200);
  });

  test('when the configuration is wrong, all faults at once', async () => {
    const refused = await startRefused({
      SLUICE_DATA: data,
      OSCAR_SERVICE_PORT: 'eighty',
      SLUICE_MAX_RUNS: '0',
      NATS_REPLICAS: 'two',
    });
    expect(refused.code).toBe(1);
    for (const name of ['OSCAR_SERVICE_PORT', 'SLUICE_MAX_RUNS', 'NATS_REPLICAS'])
      expect(refused.stderr).toContain(name);
  });

  test('when the database is no database, and buckets stay as they are', async () => {
    await mkdir(join(data, 'buckets', 'mine'), { recursive: true });
    await writeFile(join(data, 'buckets', 'mine', 'a.txt'), 'precious');
    await writeFile(join(data, 'sluice.db'), 'this is not a database, '.repeat(500));
    const refused = await startRefused({ SLUICE_DATA: data });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('sluice.db');
    expect(refused.stderr).not.toMatch(/\n\s+at /);
    expect(await readFile(join(data, 'buckets', 'mine', 'a.txt'), 'utf8')).toBe('precious');
  });

  test('when the data folder cannot be a folder', async () => {
    const path = join(data, 'file');
    await writeFile(path, '');
    const refused = await startRefused({ SLUICE_DATA: path });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('SLUICE_DATA');
  });

  test('when there is no interpreter for scripts', async () => {
    const refused = await startRefused({ SLUICE_DATA: data, SLUICE_SHELL: join(data, 'no-such-shell') });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('SLUICE_SHELL');
  });
});

test('a corrupted database is found at the start and can be replaced without losing files', async () => {
  server = await startServer({ data });
  await createService(server, 'copy', 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n');
  await server.stop();
  await chmod(join(data, 'sluice.db'), 0o600);
  const bytes = await readFile(join(data, 'sluice.db'));
  bytes.fill(0xa5, 4096, bytes.length);
  await writeFile(join(data, 'sluice.db'), bytes);
  const refused = await startRefused({ SLUICE_DATA: data });
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain('sluice.db');
  await writeFile(join(data, 'sluice.db'), '');
  server = await startServer({ data });
  expect((await server.request('/system/services')).status).toBe(200);
});
