import { describe, expect, test } from 'vitest';
import { effectiveFloor, isSteady, isUnsettled } from './floors.ts';

describe('the floor in effect', () => {
  test('is the floor, usually', () => {
    expect(effectiveFloor(100, 200, undefined)).toBe(100);
    expect(effectiveFloor(100, 200, 50)).toBe(100);
  });

  test('stays at the first sight of a clock that was set back, until the clock is past it again', () => {
    const first = effectiveFloor(1000, 400, undefined);
    expect(first).toBe(400);
    const later = effectiveFloor(1000, 900, first);
    expect(later).toBe(400);
    expect(effectiveFloor(1000, 300, later)).toBe(300);
    expect(effectiveFloor(1000, 1001, later)).toBe(1000);
  });
});

test('an object is unsettled for a while after it changed, not for as long as its time lies ahead', () => {
  expect([0, 999, 1000, 5000].map((age) => isUnsettled(10_000 - age, 10_000, 1000))).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect(isUnsettled(10_500, 10_000, 1000)).toBe(true);
  expect(isUnsettled(10_000_000, 10_000, 1000)).toBe(false);
});

test('a clock is steady when it goes as time does', () => {
  const from = { wall: 1_000_000, monotonic: 5000 };
  expect(isSteady(from, { wall: 1_060_000, monotonic: 65_000 })).toBe(true);
  expect(isSteady(from, { wall: 1_064_000, monotonic: 65_000 })).toBe(true);
  expect(isSteady(from, { wall: 1_000_000 + 3_600_000, monotonic: 65_000 })).toBe(false);
  expect(isSteady(from, { wall: 900_000, monotonic: 65_000 })).toBe(false);
});
