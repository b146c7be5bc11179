import { ConfigError, loadConfig } from '@sluice/shared/config';
import { expect, test } from 'vitest';
import {
  cleanUpVariables,
  collectionLimitsOf,
  commandEnvironment,
  registryCommandsOf,
  retentionPolicyOf,
} from './config-clean-up.ts';

const load = (env: Record<string, string>) =>
  loadConfig(cleanUpVariables, env, () => {
    throw new Error('no files here');
  });

test('what is not set: images go after a month without use, nobody collects', () => {
  const config = load({});
  expect(retentionPolicyOf(config)).toEqual({
    minAgeMs: 86_400_000,
    maxAgeMs: undefined,
    unusedMs: 2_592_000_000,
    keep: 200,
  });
  expect(registryCommandsOf(config)).toBeUndefined();
  expect(collectionLimitsOf(config)).toEqual({ drainMs: 2_400_000, switchMs: 120_000, collectMs: 3_600_000 });
});

test('0 turns a limit off', () => {
  const config = load({ SLUICE_IMAGE_UNUSED: '0', SLUICE_IMAGE_KEEP: '0', SLUICE_IMAGE_MAX_AGE: '60' });
  expect(retentionPolicyOf(config)).toMatchObject({ unusedMs: undefined, keep: undefined, maxAgeMs: 60_000 });
});

test('commands are lists of texts, all three or none', () => {
  const three = {
    SLUICE_REGISTRY_READONLY_COMMAND: '["a","b c"]',
    SLUICE_REGISTRY_WRITABLE_COMMAND: '["d"]',
    SLUICE_REGISTRY_COLLECT_COMMAND: '["e"]',
  };
  expect(registryCommandsOf(load(three))).toEqual({
    readOnly: ['a', 'b c'],
    writable: ['d'],
    collect: ['e'],
    usage: undefined,
  });
  expect(() => registryCommandsOf(load({ ...three, SLUICE_REGISTRY_COLLECT_COMMAND: '' }))).toThrow(
    /SLUICE_REGISTRY_COLLECT_COMMAND: is missing beside/,
  );
  expect(() => registryCommandsOf(load({ ...three, SLUICE_REGISTRY_WORKLOAD: 'a/deployment/b' }))).toThrow(
    /SLUICE_REGISTRY_WORKLOAD: is set together/,
  );
  expect(load({ SLUICE_REGISTRY_WORKLOAD: 'a/deployment/b' }).SLUICE_REGISTRY_WORKLOAD).toEqual({
    namespace: 'a',
    kind: 'deployment',
    name: 'b',
  });
  expect(() => load({ SLUICE_REGISTRY_WORKLOAD: 'registry' })).toThrow(ConfigError);
  for (const bad of ['docker restart registry', '{}', '[]', '[""]', '["a",1]', '["a\\u0000"]']) {
    expect(() => load({ SLUICE_REGISTRY_COLLECT_COMMAND: bad })).toThrow(ConfigError);
  }
});

test('commands see nothing secret', () => {
  const env = { PATH: '/bin', REDIS_URL: 'redis://:secret@host', SLUICE_SECRETS_KEY: 'k', HOME: undefined };
  expect(commandEnvironment(env)).toEqual({ PATH: '/bin' });
});
