import { s3Identity } from '@sluice/shared/contracts';
import { describe, expect, test } from 'vitest';
import { notificationIdentity } from './notification-identity.ts';
import type { NotificationRecord } from './parse-notification.ts';

const record = (more: Partial<NotificationRecord>): NotificationRecord => ({
  eventName: 'ObjectCreated:Put',
  server: 'minio',
  bucket: 'photos',
  key: 'in/a.txt',
  size: 3,
  etag: '5d41402abc4b2a76b9719d911017c592',
  sequencer: '18865C8DA0C3AA48',
  ...more,
});

describe('identity of what a notification tells of', () => {
  test("of MinIO is the listing's: etag and the sequencer cut to milliseconds", () => {
    // 0x18865C8DA0C3AA48 ns = 1767323045678.901832 ms; a listing says 2026-01-02T03:04:05.678Z.
    const nanoseconds = 1_767_323_045_678_901_832n;
    const sequencer = nanoseconds.toString(16).toUpperCase();
    const listed = s3Identity({
      etag: '5d41402abc4b2a76b9719d911017c592',
      lastModifiedMs: BigInt(Date.parse('2026-01-02T03:04:05.678Z')),
    });
    expect(notificationIdentity(record({ sequencer }))).toBe(listed);
    expect(listed).toBe('5d41402abc4b2a76b9719d911017c592-1767323045678');
  });

  test('does not depend on eventTime', () => {
    expect(notificationIdentity(record({ eventTime: 1 }))).toBe(
      notificationIdentity(record({ eventTime: 2 })),
    );
  });

  test('does not depend on the version, which a listing does not tell', () => {
    const versionId = '0f1d2c3b-0000-4000-8000-000000000001';
    expect(notificationIdentity(record({ versionId }))).toBe(notificationIdentity(record({})));
  });

  test.each<[string, Partial<NotificationRecord>]>([
    ['another server', { server: 'aws' }],
    ['an unknown server', { server: 'other' }],
    ['a sequencer that is no number', { sequencer: 'xyz' }],
  ])('has to be listed for %s', (_, more) => {
    expect(notificationIdentity(record(more))).toBeUndefined();
  });

  test('has to be listed without etag or sequencer', () => {
    const { etag: _etag, ...withoutEtag } = record({});
    const { sequencer: _sequencer, ...withoutSequencer } = record({});
    expect(notificationIdentity(withoutEtag)).toBeUndefined();
    expect(notificationIdentity(withoutSequencer)).toBeUndefined();
  });
});
