import { expect, test } from 'vitest';
import { userName } from './user-name.ts';

const nobody = (): never => {
  throw new Error('uv_os_get_passwd returned ENOENT');
};

test('a user has its name, else its number', () => {
  expect(userName(() => ({ username: 'ada' }), 1000)).toBe('ada');
  expect(userName(nobody, 12_345)).toBe('12345');
  expect(userName(nobody, undefined)).toBe('unknown');
});
