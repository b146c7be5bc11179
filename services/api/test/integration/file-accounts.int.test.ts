import { createHash } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFileAccounts } from '@sluice/api/adapters';
import { ConfigError, Secret } from '@sluice/shared/config';
import { createLogger } from '@sluice/shared/telemetry';
import { afterEach, beforeEach, expect, test } from 'vitest';

const anna = { login: 'anna', uuid: 'u-anna', key: 'topsecret-anna' };
const account = { login: 'anna', admin: false, env: {} };

let folder: string;
let path: string;
let logged: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-accounts-'));
  path = join(folder, 'accounts.yaml');
  logged = [];
});
afterEach(async () => {
  const leaked = logged.filter((line) => line.includes('topsecret'));
  if (leaked.length > 0) throw new Error(`a key was logged: ${leaked.join()}`);
  await rm(folder, { recursive: true, force: true });
});

const deps = () => ({
  reserved: new Set(['oscar']),
  log: createLogger({
    name: 'test',
    level: 'info',
    destination: { write: (line: string) => void logged.push(line) },
  }),
});
const fromFile = async () => createFileAccounts({ ...deps(), source: { path } });
/** As Kubernetes and careful editors do: another file takes the name. */
async function replace(text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

test('a YAML file is a list of accounts, found by uuid and key', async () => {
  const hash = createHash('sha256').update('topsecret-bob').digest('hex');
  await writeFile(
    path,
    `- login: anna\n  uuid: u-anna\n  key: topsecret-anna\n  env:\n    REGISTRY_HOST: registry:5000\n- { login: bob, uuid: u-bob, key_sha256: ${hash} }\n`,
  );
  const accounts = await fromFile();
  expect(await accounts.find('u-anna', 'topsecret-anna')).toEqual({
    ...account,
    env: { REGISTRY_HOST: 'registry:5000' },
  });
  expect(await accounts.find('u-bob', 'topsecret-bob')).toMatchObject({ login: 'bob' });
  expect(await accounts.find('u-bob', 'topsecret-anna')).toBeUndefined();
  expect(await accounts.find('u-bob', hash)).toBeUndefined();
  expect(await accounts.find('none', 'topsecret-anna')).toBeUndefined();
  expect(await accounts.find('none', '')).toBeUndefined();
  expect(await accounts.environmentOf('anna')).toEqual({ REGISTRY_HOST: 'registry:5000' });
  expect(await accounts.environmentOf('bob')).toEqual({});
  expect(await accounts.environmentOf('none')).toEqual({});
});

test('a list may be JSON in a variable, and there may be none', async () => {
  const source = { text: new Secret(JSON.stringify([anna])) };
  const accounts = await createFileAccounts({ ...deps(), source });
  expect(await accounts.find('u-anna', 'topsecret-anna')).toEqual(account);
  const none = await createFileAccounts({ ...deps(), source: undefined });
  expect(await none.find('u-anna', 'topsecret-anna')).toBeUndefined();
});

test('a changed file is read anew, and one that is faulty or gone does not count', async () => {
  await writeFile(path, JSON.stringify([anna]));
  const accounts = await fromFile();
  await replace(JSON.stringify([{ ...anna, key: 'topsecret-new' }]));
  expect(await accounts.find('u-anna', 'topsecret-anna')).toBeUndefined();
  expect(await accounts.find('u-anna', 'topsecret-new')).toEqual(account);
  for (const text of ['[{"login":"Anna","key":"topsecret-x"}]', '[{"login": topsecret', '', 'topsecret']) {
    await replace(text);
    expect(await accounts.find('u-anna', 'topsecret-new')).toEqual(account);
  }
  const count = logged.length;
  await accounts.find('u-anna', 'topsecret-new');
  expect(logged).toHaveLength(count);
  await rm(path);
  expect(await accounts.find('u-anna', 'topsecret-new')).toEqual(account);
  await replace('[]');
  expect(await accounts.find('u-anna', 'topsecret-new')).toBeUndefined();
  expect(logged.join('\n')).toContain('[0].login: must be 1 to 61');
});

test('many logins at the moment of a change all see it', async () => {
  await writeFile(path, '[]');
  const accounts = await fromFile();
  await replace(JSON.stringify([anna]));
  const found = await Promise.all(
    Array.from({ length: 20 }, async () => accounts.find('u-anna', 'topsecret-anna')),
  );
  expect(found).toEqual(Array.from({ length: 20 }, () => account));
});

test.each([
  ['is missing', undefined, ['cannot be read: ENOENT']],
  ['is no YAML', 'a: b: topsecret', ['is not valid YAML or JSON']],
  ['has aliases', '- &a [topsecret]\n- *a\n', ['is not valid YAML or JSON']],
  ['is too large', `# ${'x'.repeat(4_194_304)}`, ['is larger than 4194304 bytes']],
  ['has no list', '{"accounts": []}', ['must be a list of accounts']],
  [
    'has faults',
    JSON.stringify([{ login: 'oscar', uuid: 'a', key: 'topsecret' }, { login: 'b' }]),
    ['[0].login: is the login of Sluice itself, too', '[1].uuid: must be', '[1]: must have either'],
  ],
])('a file that %s ends the start with what is wrong', async (_name, text, messages) => {
  if (text !== undefined) await writeFile(path, text);
  const error = await fromFile().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConfigError);
  const { message } = error as ConfigError;
  for (const part of messages) expect(message).toContain(`SLUICE_ACCOUNTS_FILE: ${part}`);
  expect(message).not.toContain('topsecret');
});
