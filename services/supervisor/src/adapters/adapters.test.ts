import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { setAlarm } from './alarm.ts';
import { isMarked, markedInListing } from './process-markers.ts';

describe('alarm', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const day = 86_400_000;

  test('rings once, also after 30 days, which is longer than a timer can wait', () => {
    const ring = vi.fn<() => void>();
    setAlarm(30 * day, ring);
    vi.advanceTimersByTime(30 * day - 1);
    expect(ring).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(ring).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(60 * day);
    expect(ring).toHaveBeenCalledTimes(1);
  });

  test('can be stopped in each part', () => {
    const ring = vi.fn<() => void>();
    for (const after of [0, 26 * day]) {
      const stop = setAlarm(30 * day, ring);
      vi.advanceTimersByTime(after);
      stop();
    }
    vi.advanceTimersByTime(60 * day);
    expect(ring).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('markers', () => {
  const environment = Buffer.from('A=1\0SLUICE_INSTANCE=home\0SLUICE_ATTEMPT=r/1\0B=SLUICE_X=1\0');

  test.each([
    [['A=1'], true],
    [['SLUICE_INSTANCE=home', 'SLUICE_ATTEMPT=r/1'], true],
    [['SLUICE_INSTANCE=home', 'SLUICE_ATTEMPT=r/2'], false],
    [['SLUICE_INSTANCE=hom'], false],
    [['INSTANCE=home'], false],
    [['SLUICE_X=1'], false],
  ])('%j in an environment: %s', (markers, expected) => {
    expect(isMarked(environment, markers)).toBe(expected);
  });

  test('in the listing of ps', () => {
    const listing = [
      '    1 /sbin/launchd',
      '  812 /bin/sh /tmp/a b.sh PATH=/bin SLUICE_INSTANCE=home SLUICE_ATTEMPT=r/1',
      '  813 sleep 5 SLUICE_INSTANCE=home-2',
      ' 9014 sleep 5 SLUICE_INSTANCE=home X=1',
      '',
    ].join('\n');
    expect(markedInListing(listing, ['SLUICE_INSTANCE=home'])).toEqual([812, 9014]);
    expect(markedInListing(listing, ['SLUICE_INSTANCE=home', 'SLUICE_ATTEMPT=r/1'])).toEqual([812]);
  });
});
