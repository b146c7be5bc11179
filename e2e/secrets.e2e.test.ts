import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createService, tokenOf } from './support/service.ts';
import { removeFolder, startRefused, startServer, tempFolder, type Server } from './support/server.ts';

let data: string;
let server: Server | undefined;

beforeEach(async () => {
  data = await tempFolder();
});
afterEach(async () => {
  await server?.stop('SIGKILL');
  await removeFolder(data);
});

const password = 'correct horse battery staple';
const script = '#!/bin/sh\ncat\n';
const more = { environment: { secrets: { PASSWORD: password } } };

test('secrets of services are readable in no file; the key file is wanted back, or a clean slate', async () => {
  server = await startServer({ data });
  await createService(server, 'keeper', script, more);
  const token = await tokenOf(server, 'keeper');
  await server.stop();
  const path = join(data, 'secrets-key');
  expect(((await stat(path)).mode & 0o777).toString(8)).toBe('600');
  const content = await readFile(join(data, 'sluice.db'));
  expect(content.includes('keeper')).toBe(true);
  expect(content.includes(password) || content.includes(token)).toBe(false);

  const key = await readFile(path, 'utf8');
  await rm(path);
  const refused = await startRefused({ SLUICE_DATA: data, OSCAR_SERVICE_PORT: '0' });
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(path) });
  expect(refused.stderr).not.toMatch(/\n\s+at /);
  await writeFile(path, 'no key\n');
  expect((await startRefused({ SLUICE_DATA: data, OSCAR_SERVICE_PORT: '0' })).stderr).toContain(path);

  await writeFile(path, key);
  server = await startServer({ data });
  expect(await tokenOf(server, 'keeper')).toBe(token);
  await server.stop();

  // What the manual says for a key that is lost.
  await rm(path);
  const database = new DatabaseSync(join(data, 'sluice.db'));
  database.exec('DELETE FROM definition_secrets');
  database.close();
  server = await startServer({ data });
  expect((await server.request('/system/services/keeper', { method: 'DELETE' })).status).toBe(204);
  await createService(server, 'keeper', script, more);
  const fresh = await tokenOf(server, 'keeper');
  expect(fresh).toMatch(/^[0-9a-f]{64}$/);
  expect(fresh).not.toBe(token);
});
