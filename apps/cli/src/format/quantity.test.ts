import { expect, it } from 'vitest';
import { agoText, bytesText, durationText, parseDuration } from './quantity.ts';

it.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1536, '1.5 KiB'],
  [48_211, '47 KiB'],
  [1024 * 1024 - 1, '1.0 MiB'],
  [5 * 1024 ** 3, '5.0 GiB'],
  [3000 * 1024 ** 5, '3000 PiB'],
])('%d bytes are %s', (bytes, text) => {
  expect(bytesText(bytes)).toBe(text);
});

it.each([
  [0, 'now'],
  [400, 'now'],
  [12_000, '12s ago'],
  [59_400, '59s ago'],
  [60_000, '1m ago'],
  [3_600_000, '1h ago'],
  [47 * 3_600_000, '47h ago'],
  [3 * 86_400_000, '3d ago'],
  [-300_000, 'in 5m'],
])('%d ms before now is %s', (ms, text) => {
  expect(agoText(1_000_000_000_000 - ms, 1_000_000_000_000)).toBe(text);
});

it('shows a dash for no time', () => {
  expect([agoText(undefined, 0), agoText(Number.NaN, 0), durationText(undefined)]).toEqual(['-', '-', '-']);
});

it.each([
  [-3, '0ms'],
  [4, '4ms'],
  [999.4, '999ms'],
  [1250, '1.25s'],
  [59_999, '1m00s'],
  [125_000, '2m05s'],
  [12_000_000, '3h20m'],
  [4 * 86_400_000 + 7_200_000, '4d 2h'],
])('%d ms last %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});

it.each([
  ['90', 90_000],
  ['90s', 90_000],
  ['1.5m', 90_000],
  ['2h', 7_200_000],
  ['500ms', 500],
  ['1d', 86_400_000],
  ['0', 0],
  ['', undefined],
  ['-1', undefined],
  ['5 minutes', undefined],
  ['9999999999999999d', undefined],
])('%j is %s ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});
