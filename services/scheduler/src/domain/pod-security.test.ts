import { expect, test } from 'vitest';
import { numericUser, podSecurity } from './pod-security.ts';

test.each([
  ['1000', { user: '0' }, 'restricted', 'runs as user 1000 (sluice.run_as), Pod Security "restricted"'],
  [
    undefined,
    { user: '101:101' },
    'restricted',
    'runs as user 101 (the image\'s own user), Pod Security "restricted"',
  ],
  ['0', { user: '1000' }, 'baseline', 'runs as root (sluice.run_as), Pod Security "baseline"'],
  [
    undefined,
    { user: 'node' },
    'baseline',
    'runs as "node", its image\'s user, whose number is unknown (sluice.run_as names another), Pod Security "baseline"',
  ],
  [
    undefined,
    { user: '' },
    'baseline',
    'runs as root, its image\'s user (sluice.run_as names another), Pod Security "baseline"',
  ],
  [
    undefined,
    undefined,
    'baseline',
    'runs as its image\'s user, unknown here (sluice.run_as names another), Pod Security "baseline"',
  ],
])('run_as %j with %j is %s, and says why', (runAs, facts, level, sentence) => {
  expect(podSecurity(runAs, facts)).toMatchObject({ level, sentence });
});

test('a root that was asked for is given', () => {
  expect(podSecurity('0:5', undefined).script).toEqual({
    allowPrivilegeEscalation: false,
    runAsUser: 0,
    runAsGroup: 5,
  });
});

test.each([
  ['1000', { uid: 1000, gid: undefined }],
  ['1000:7', { uid: 1000, gid: 7 }],
  ['node', undefined],
  ['1000:node', undefined],
  ['-1', undefined],
  ['', undefined],
  [undefined, undefined],
])('user %j', (text, user) => {
  expect(numericUser(text)).toEqual(user);
});
