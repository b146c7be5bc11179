import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRegistryLogins } from './registry-logins.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-logins-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const store = (text: string): void => writeFileSync(join(folder, 'config.json'), text);
const auth = Buffer.from('ada:pass:word').toString('base64');

test('logins are found by registry, as they are when they are asked for', async () => {
  const logins = createRegistryLogins(folder);
  expect(await logins('ghcr.io')).toBeUndefined();
  store(
    JSON.stringify({ auths: { 'ghcr.io': { auth }, 'https://index.docker.io/v1/': { identitytoken: 't' } } }),
  );
  expect(await logins('ghcr.io')).toEqual({
    username: 'ada',
    password: 'pass:word',
    serveraddress: 'ghcr.io',
  });
  expect(await logins('https://index.docker.io/v1/')).toEqual({
    identitytoken: 't',
    serveraddress: 'https://index.docker.io/v1/',
  });
  expect(await logins('quay.io')).toBeUndefined();
  store(JSON.stringify({ auths: { 'https://quay.io': { auth } }, credsStore: 'desktop' }));
  expect(await logins('quay.io')).toMatchObject({ username: 'ada' });
  store(JSON.stringify({ auths: { 'quay.io': {} } }));
  expect(await logins('quay.io')).toBeUndefined();
});

test('a file that is no JSON is said, without what is in it', async () => {
  store('{"auths": secret');
  const failure = await createRegistryLogins(folder)('ghcr.io').catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'unavailable' });
  expect(String(failure)).toContain(join(folder, 'config.json'));
  expect(String(failure)).not.toContain('secret');
});
