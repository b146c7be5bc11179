import { s3Identity } from '@sluice/shared/contracts';
import { describe, expect, test } from 'vitest';
import { notificationIdentity, notifiedObject } from './notified-object.ts';
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

describe('the whole object', () => {
  const whole = record({
    contentType: 'image/png',
    metadata: { 'X-Amz-Meta-Sluice-Hop': '3', 'content-type': 'image/png', 'cache-control': 'no-cache' },
  });

  test('is what HEAD and a listing say, in their words', () => {
    expect(notifiedObject(whole)).toEqual({
      bucket: 'photos',
      key: 'in/a.txt',
      size: 3,
      etag: '5d41402abc4b2a76b9719d911017c592',
      identity: notificationIdentity(whole),
      lastModified: 1_767_201_667_146,
      changedAt: 1_767_201_667_146,
      contentType: 'image/png',
      metadata: { 'sluice-hop': '3' },
    });
  });

  const { metadata: _metadata, ...withoutMetadata } = whole;
  const { contentType: _contentType, ...withoutContentType } = whole;
  test.each<[string, NotificationRecord]>([
    ['without metadata', withoutMetadata],
    ['without a content type', withoutContentType],
    ['of another server', { ...whole, server: 'aws' }],
    ['with metadata beyond ASCII', { ...whole, metadata: { 'X-Amz-Meta-Who': 'Zoë' } }],
    ['of an encrypted object', { ...whole, metadata: { 'X-Amz-Server-Side-Encryption': 'AES256' } }],
    ['whose time no number holds', { ...whole, sequencer: 'F'.repeat(32) }],
  ])('has to be asked for %s', (_, given) => {
    expect(notifiedObject(given)).toBeUndefined();
  });
});
