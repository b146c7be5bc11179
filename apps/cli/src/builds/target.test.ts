import { expect, it } from 'vitest';
import { contentTag, type Ingredients } from './target.ts';

const base: Ingredients = {
  source: 'python:3.11-slim',
  kind: 'python',
  file: Buffer.from('six\n'),
  platforms: [],
};

it('is the same for the same things, in whatever order platforms are named', () => {
  const platforms = ['linux/arm64', 'linux/amd64'];
  expect(contentTag('one', base)).toMatch(/^one-[0-9a-f]{20}$/);
  expect(contentTag('one', { ...base, file: Buffer.from('six\n') })).toBe(contentTag('one', base));
  expect(contentTag('one', { ...base, platforms })).toBe(
    contentTag('one', { ...base, platforms: platforms.toReversed() }),
  );
});

it('changes with each of them, and with where one ends and the next begins', () => {
  const others: Ingredients[] = [
    { ...base, source: 'python:3.12-slim' },
    { ...base, kind: 'nodejs' },
    { ...base, file: Buffer.from('six') },
    { ...base, file: undefined },
    { ...base, platforms: ['linux/amd64'] },
    { ...base, source: 'python:3.11-slimpy', kind: 'thon' },
  ];
  const tags = [base, ...others].map((ingredients) => contentTag('one', ingredients));
  expect(new Set(tags).size).toBe(tags.length);
});
