import { splitPath } from '@sluice/shared/stores';
import { expect, test } from 'vitest';
import { createWatchPlan } from './watch-plan.ts';

const plan = createWatchPlan(
  ['photos/in', 'photos/a/b', 'whole', 'photos/in/.x/y'].map((path) =>
    splitPath(path.replace(/^whole$/, 'whole-bucket')),
  ),
);

test.each([
  ['', 'way'],
  ['photos', 'way'],
  ['photos/in', 'input'],
  ['photos/in/sub/deeper', 'input'],
  ['photos/in/.git', 'none'],
  ['photos/in/.x', 'way'],
  ['photos/in/.x/y', 'input'],
  ['photos/in/.x/z', 'none'],
  ['photos/out', 'none'],
  ['photos/a', 'way'],
  ['photos/a/b/c', 'input'],
  ['whole-bucket', 'input'],
  ['whole-bucket/x', 'input'],
  ['other', 'none'],
  ['other/in', 'none'],
])('folder "%s" is %s', (folder, kind) => {
  expect(plan.kindOf(folder)).toBe(kind);
});

test('ways to input folders', () => {
  expect(plan.ways('')).toEqual(['photos', 'whole-bucket']);
  expect(plan.ways('photos')).toEqual(['in', 'a']);
  expect(plan.ways('photos/in/sub')).toEqual([]);
});

test.each([
  ['photos', true],
  ['other', false],
  ['photos/in', true],
  ['photos/readme', false],
  ['photos/in/a', true],
  ['photos/in/.a', false],
  ['photos/in/.x', true],
  ['photos/in/.x/a', false],
  ['photos/in/.x/y/a', true],
  ['photos/in/sub/a', true],
  ['photos/a/c', false],
  ['whole-bucket/a', true],
])('an event about "%s" matters: %s', (path, matters) => {
  expect(plan.concerns(path)).toBe(matters);
});
