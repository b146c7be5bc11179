import { ConfigError, loadConfig, Secret } from '@sluice/shared/config';
import { expect, test } from 'vitest';
import { apiConfig, apiVariables } from './config.ts';

const facts = { adminPassword: new Secret('p'), version: '1', arch: 'arm64' };
const load = (env: Record<string, string>) =>
  apiConfig(
    loadConfig(apiVariables, env, () => ''),
    facts,
  );

test('without variables: this machine only, and what is absent is empty', () => {
  expect(load({})).toMatchObject({
    host: '127.0.0.1',
    port: 8080,
    adminUser: 'oscar',
    architecture: 'arm64',
    gitCommit: '',
    kubernetesVersion: '',
    readTimeoutMs: 300_000,
    jobListingLimit: 70,
    bodyLimit: 10_485_760,
    namespace: '',
    servicesNamespace: 'oscar-svc',
    minio: { endpoint: '', region: '', accessKey: '', secretKey: undefined },
  });
});

test('OSCAR’s names are honoured, its spelling of numbers and truth too', () => {
  const config = load({
    OSCAR_SERVICE_PORT: '81.0',
    MINIO_TLS_VERIFY: 'F',
    READ_TIMEOUT: '5',
    OSCAR_NAME: 'mine',
  });
  expect(config).toMatchObject({ port: 81, readTimeoutMs: 5000, name: 'mine', minio: { verify: false } });
});

test('faults are named all at once', () => {
  expect(() => load({ OSCAR_SERVICE_PORT: '70000', READ_TIMEOUT: 'x' })).toThrow(
    /OSCAR_SERVICE_PORT[\s\S]*READ_TIMEOUT/,
  );
  expect(() => load({ OSCAR_USERNAME: 'a:b' })).toThrow(ConfigError);
});

test('accounts come from a file, which is named, or from the variable itself', () => {
  expect(load({}).accounts).toBeUndefined();
  expect(load({ SLUICE_ACCOUNTS_FILE: '/etc/accounts.yaml' }).accounts).toEqual({
    path: '/etc/accounts.yaml',
  });
  const { accounts } = load({ SLUICE_ACCOUNTS: '[]' });
  expect(accounts !== undefined && 'text' in accounts && accounts.text.reveal()).toBe('[]');
  expect(() => load({ SLUICE_ACCOUNTS: '[]', SLUICE_ACCOUNTS_FILE: '/etc/accounts.yaml' })).toThrow(
    /SLUICE_ACCOUNTS: is set together with SLUICE_ACCOUNTS_FILE/,
  );
});
