import { expect, test } from 'vitest';
import { cleanLine, createMask, cutText, secretForms } from './log-text.ts';

test.each([
  ['plain', 'plain'],
  ['a\tb', 'a\tb'],
  ['ends\r', 'ends'],
  ['10%\r20%\r100%', '100%'],
  ['\u001b[31mred\u001b[0m', 'red'],
  ['a\u0000b\u0007c\u009bd\u007fe', 'abcde'],
  ['naïve ✓', 'naïve ✓'],
])('%j is shown as %j', (text, expected) => {
  expect(cleanLine(text)).toBe(expected);
});

test('a secret is masked in every form, the longer one first', () => {
  const login = { username: 'ada', password: 'p&ss"word' };
  const mask = createMask([...secretForms(login), 'p&ss"word-and-more'], 1000);
  const pair = Buffer.from('ada:p&ss"word').toString('base64');
  expect(mask(`Basic ${pair} p&ss"word p%26ss%22word p&ss\\"word p&ss"word-and-more`)).toBe(
    'Basic [redacted] [redacted] [redacted] [redacted] [redacted]',
  );
  expect(mask(`auth=${pair.replace(/=+$/, '')}`)).toBe('auth=[redacted]');
});

test('what is no secret masks nothing', () => {
  expect(createMask(['', 'a'], 100)('banana')).toBe('banana');
});

test('a secret across the cut does not show its beginning', () => {
  expect(createMask(['secret-of-anna'], 10)('01234secret-of-anna')).toBe('01234[reda');
});

test('a cut leaves no half of a character', () => {
  expect(cutText('ab😀', 3)).toBe('ab');
  expect(cutText('ab😀', 4)).toBe('ab😀');
});
