import { definitionOf } from '@sluice/shared/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { maxPolicyBytes, storagePolicy } from './storage-policy.ts';

interface Policy {
  readonly Statement: readonly {
    readonly Effect: string;
    readonly Action: readonly string[];
    readonly Resource: readonly string[];
    readonly Condition?: { readonly StringLike: { readonly 's3:prefix': readonly string[] } };
  }[];
}

const io = (path: string, provider = 'minio.default') => ({ storage_provider: provider, path });

function policyOf(inputs: readonly string[], outputs: readonly string[]): Policy {
  const definition = definitionOf('thumb', {
    input: inputs.map((path) => io(path)),
    output: outputs.map((path) => io(path)),
  });
  return JSON.parse(storagePolicy(definition)) as Policy;
}

/** What a server makes of it: `*` is any text, `?` one character. */
function matches(pattern: string, text: string): boolean {
  const escaped = pattern.replaceAll(/[\\^$.|+()[\]{}/]/g, String.raw`\$&`);
  const source = escaped.replaceAll('*', '[^]*').replaceAll('?', '[^]');
  return new RegExp(`^${source}$`, 'u').test(text);
}

function allows(policy: Policy, action: string, resource: string, prefix?: string): boolean {
  return policy.Statement.some(
    ({ Effect, Action, Resource, Condition }) =>
      Effect === 'Allow' &&
      Action.includes(action) &&
      Resource.some((pattern) => matches(pattern, resource)) &&
      (Condition === undefined ||
        Condition.StringLike['s3:prefix'].some((pattern) => matches(pattern, prefix ?? ''))),
  );
}

const arn = (key: string): string => `arn:aws:s3:::${key}`;

describe('the policy of a service', () => {
  const policy = policyOf(['photos/in'], ['photos/out', 'results']);

  test.each([
    ['s3:GetObject', 'photos/in/a', true],
    ['s3:GetObjectVersion', 'photos/in/a', true],
    ['s3:PutObject', 'photos/in/a', false],
    ['s3:PutObject', 'photos/out/a', true],
    ['s3:GetObject', 'photos/out/a', true],
    ['s3:DeleteObject', 'photos/out/a', false],
    ['s3:PutObject', 'results/a', true],
    ['s3:GetObject', 'photos/other/a', false],
    ['s3:GetObject', 'photos/in-2/a', false],
    ['s3:GetObject', 'photos2/in/a', false],
    ['s3:GetObject', 'sluice-system/events/0af7', true],
    ['s3:PutObject', 'sluice-system/events/0af7', false],
    ['s3:PutObject', 'sluice-system/runs/thumb/x/outcome-1.json', true],
    ['s3:PutObject', 'sluice-system/logs/thumb/x', true],
    ['s3:PutObject', 'sluice-system/runs/thumb2/x', false],
    ['s3:GetObject', 'sluice-system/clock', false],
    ['s3:PutBucketPolicy', 'photos', false],
  ])('%s on %s: %s', (action, resource, allowed) => {
    expect(allows(policy, action, arn(resource))).toBe(allowed);
  });

  test.each([
    ['photos', 'in/', true],
    ['photos', 'out/a', true],
    ['photos', '', false],
    ['photos', 'other/', false],
    ['results', '', true],
    ['sluice-system', 'logs/thumb/run', true],
    ['sluice-system', 'events/', false],
    ['sluice-system', `events/${'a'.repeat(64)}`, true],
    ['sluice-system', `events/${'a'.repeat(63)}`, false],
    ['sluice-system', '', false],
    ['sluice-system', 'runs/', false],
  ])('listing %s by %j: %s', (bucket, prefix, allowed) => {
    expect(allows(policy, 's3:ListBucket', arn(bucket), prefix)).toBe(allowed);
  });

  test('leaves other stores out, and opens the buckets of users where they are kept apart', () => {
    const definition = definitionOf('thumb', {
      input: [io('photos/in'), io('other/in', 's3.eu')],
      output: [io('photos/out')],
      isolation_level: 'USER',
      bucket_list: ['of-alice'],
    });
    const isolated = JSON.parse(storagePolicy(definition)) as Policy;
    expect(allows(isolated, 's3:PutObject', arn('of-alice/out/x'))).toBe(true);
    expect(allows(isolated, 's3:PutObject', arn('of-alice/x'))).toBe(false);
    expect(allows(isolated, 's3:GetObject', arn('other/in/x'))).toBe(false);
  });
});

const part = fc
  .string({
    unit: fc.constantFrom('a', 'b', '*', '?', '$', '{', '}', '"', "'", '\\', 'ü', '日', ':', '&', '%', '+'),
    minLength: 1,
    maxLength: 12,
  })
  .filter((text) => text.trim() === text);

test('no path opens anything but what lies below it', () => {
  fc.assert(
    fc.property(part, part, (own, other) => {
      fc.pre(!`${other}/`.startsWith(`${own}/`));
      let policy: Policy;
      try {
        policy = policyOf([`photos/${own}`], [`photos/${own}`]);
      } catch (error) {
        // Refused by its name, which then is one that a policy cannot say.
        expect(own).toMatch(/[*?]|\$\{/);
        expect(error).toMatchObject({ code: 'invalid_input', field: 'input[0].path' });
        return;
      }
      expect(allows(policy, 's3:PutObject', arn(`photos/${own}/x`))).toBe(true);
      for (const action of ['s3:GetObject', 's3:PutObject']) {
        expect(allows(policy, action, arn(`photos/${other}/x`))).toBe(false);
      }
      expect(allows(policy, 's3:ListBucket', arn('photos'), `${other}/`)).toBe(false);
      expect(policy.Statement.flatMap(({ Resource }) => Resource).join('')).not.toContain('${');
    }),
    { numRuns: 500 },
  );
});

test('past the size that servers take, people are told', () => {
  const paths = Array.from({ length: 30 }, (_, at) => `bucket-${at}/${'long'.repeat(10)}`);
  expect(() => policyOf(paths, [])).toThrow(new RegExp(`of the service thumb.*${maxPolicyBytes}`));
});
