import { expect, test } from 'vitest';
import { ownRegistryHost, ownRegistryLogin } from './registry-host.ts';

test('none where an account names none', () => {
  expect(ownRegistryHost({})).toBeUndefined();
  expect(ownRegistryHost({ REGISTRY_HOST: '  ' })).toBeUndefined();
  expect(ownRegistryLogin({})).toBeUndefined();
});

test('a host, in its one spelling', () => {
  expect(ownRegistryHost({ REGISTRY_HOST: ' Registry.Example.org:5000 ' })).toBe('registry.example.org:5000');
  expect(ownRegistryHost({ REGISTRY_HOST: 'localhost' })).toBe('localhost');
});

test.each([
  'r.test;id',
  'r.test,name=x',
  'r.test/$(id)',
  'r.test/path',
  'http://r.test',
  'r.test"',
  'r.test\nx',
  'r.test:99999',
  'user@r.test',
  'bücher.test',
])('%j is no host', (text) => {
  expect(() => ownRegistryHost({ REGISTRY_HOST: text })).toThrow(/REGISTRY_HOST/);
});

test('a login may have colons in its password, and is in no message', () => {
  expect(ownRegistryLogin({ REGISTRY_SECRET: 'anna:a:b' })).toEqual({ username: 'anna', password: 'a:b' });
  for (const text of ['hunter2', ':hunter2', 'hunter2:']) {
    expect(() => ownRegistryLogin({ REGISTRY_SECRET: text })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter2') as string }) as Error,
    );
  }
});
