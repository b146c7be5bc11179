import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { readAccounts, sha256 } from './account-list.ts';

const none: ReadonlySet<string> = new Set();
const anna = { login: 'anna', uuid: 'u-1', key: 'k-1' };
const faultsOf = (list: unknown, reserved = none): readonly string[] => {
  const read = readAccounts(list, reserved);
  return 'faults' in read ? read.faults : [];
};

test('a key and the hash of a key are the same', () => {
  const hash = createHash('sha256').update('k-2').digest('hex');
  const read = readAccounts([anna, { login: 'bob', uuid: 'u-2', key_sha256: hash.toUpperCase() }], none);
  expect(read).toEqual({
    accounts: [
      { account: { login: 'anna', admin: false, env: {} }, uuid: sha256('u-1'), key: sha256('k-1') },
      { account: { login: 'bob', admin: false, env: {} }, uuid: sha256('u-2'), key: hash },
    ],
  });
});

test('the environment is trimmed and what is empty left out', () => {
  const env = { REGISTRY_HOST: ' registry:5000 ', REGISTRY_SECRET: '  ' };
  const read = readAccounts([{ ...anna, env }], none);
  expect('accounts' in read && read.accounts[0]?.account.env).toEqual({ REGISTRY_HOST: 'registry:5000' });
});

test('a blocked account is none, and keeps its login from others', () => {
  expect(readAccounts([{ ...anna, blocked: true }], none)).toEqual({ accounts: [] });
  expect(
    faultsOf([
      { ...anna, blocked: true },
      { ...anna, uuid: 'u-2' },
    ]),
  ).toEqual(['[1].login: is the login of [0], too']);
});

test('all faults are said at once, and no key', () => {
  const faults = faultsOf(
    [
      7,
      { login: 'Anna', uuid: 'a:b', key: 'topsecret topsecret' },
      { login: 'a'.repeat(62), key: 'k', kye: 'topsecret' },
      { login: 'bob', uuid: 'u-3', key: 'k', key_sha256: 'a'.repeat(64) },
      { login: 'carl', uuid: 'u-4', key_sha256: 'topsecret', blocked: 'no', env: { A: 1, '1': 'x' } },
      { login: 'dora', uuid: 'u-5', key: 'k', env: [] },
      { login: 'oscar', uuid: 'u-6', key: 'k' },
      { login: 'eve', uuid: 'u-6', key: 'k' },
    ],
    new Set(['oscar']),
  );
  expect(faults).toEqual([
    '[0]: must be an object {login, uuid, key}',
    '[1].login: must be 1 to 61 of a-z and 0-9',
    '[1].uuid: must be 1 to 256 characters without colon and space',
    '[1].key: must be 1 to 256 characters without colon and space',
    '[2].kye: is unknown; there are login, uuid, key, key_sha256, env, blocked',
    '[2].login: must be 1 to 61 of a-z and 0-9',
    '[2].uuid: must be 1 to 256 characters without colon and space',
    '[3]: must have either key or key_sha256',
    '[4].blocked: must be true or false',
    '[4].key_sha256: must be the 64 hexadecimal digits of the SHA-256 of the key',
    '[4].env: "1" is no name of a variable',
    '[4].env.A: must be a text of at most 4096 characters',
    '[5].env: must be an object of at most 64 texts',
    '[6].login: is the login of Sluice itself, too',
    '[7].uuid: is the uuid of [6], too',
  ]);
  expect(faults.join()).not.toContain('topsecret');
});

test('what is no list is said; a list of too much ends somewhere', () => {
  expect(faultsOf({ accounts: [] })).toEqual(['must be a list of accounts: [{login, uuid, key}]']);
  expect(faultsOf(Array.from({ length: 10_001 }, () => anna))).toEqual([
    'has 10001 accounts; at most 10000 may be',
  ]);
  expect(faultsOf(Array.from({ length: 60 }, () => 1))).toHaveLength(51);
});
