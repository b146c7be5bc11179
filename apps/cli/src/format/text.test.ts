import { expect, it } from 'vitest';
import { oneLine, plural, shorten } from './text.ts';

it('shows control characters instead of obeying them', () => {
  expect(oneLine('a\nb\t\u001b[31mred\u202e é 😀')).toBe(String.raw`a\nb\t\u001b[31mred\u202e é 😀`);
});

it('shortens by characters, not by halves of them', () => {
  expect(shorten('😀😀😀', 3)).toBe('😀😀😀');
  expect(shorten('😀😀😀', 2)).toBe('😀…');
  expect(shorten('abc', 0)).toBe('…');
});

it('counts', () => {
  expect([plural(0, 'run'), plural(1, 'run'), plural(2, 'run')]).toEqual(['0 runs', '1 run', '2 runs']);
});
