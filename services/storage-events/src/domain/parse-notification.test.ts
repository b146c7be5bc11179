import { isAppError } from '@sluice/shared/errors';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeEventKey } from './object-event.ts';
import { parseNotification } from './parse-notification.ts';

const minioRecord = (object: Record<string, unknown>, more: Record<string, unknown> = {}): object => ({
  eventVersion: '2.0',
  eventSource: 'minio:s3',
  awsRegion: '',
  eventTime: '2026-01-02T03:04:05.678Z',
  eventName: 's3:ObjectCreated:Put',
  userIdentity: { principalId: 'alice' },
  requestParameters: { principalId: 'alice', region: '', sourceIPAddress: '10.0.0.7' },
  responseElements: { 'x-amz-request-id': '18865C8DA0C07B00' },
  s3: {
    s3SchemaVersion: '1.0',
    configurationId: 'Config',
    bucket: { name: 'photos', ownerIdentity: { principalId: 'alice' }, arn: 'arn:aws:s3:::photos' },
    object: { key: 'in%2Fa.txt', size: 3, eTag: 'abc', sequencer: '18865C8DA0C3AA48', ...object },
  },
  source: { host: '10.0.0.7', port: '', userAgent: 'mc' },
  ...more,
});

const minio = (object: Record<string, unknown>, more: Record<string, unknown> = {}): object => ({
  EventName: 's3:ObjectCreated:Put',
  Key: 'photos/in/a.txt',
  Records: [minioRecord(object, more)],
});

const awsRecord = (key: string, more: Record<string, unknown> = {}): object => ({
  eventVersion: '2.1',
  eventSource: 'aws:s3',
  awsRegion: 'eu-west-1',
  eventTime: '1970-01-01T00:00:00.000Z',
  eventName: 'ObjectCreated:CompleteMultipartUpload',
  userIdentity: { principalId: 'AIDAJDPLRKLG7UEXAMPLE' },
  requestParameters: { sourceIPAddress: '127.0.0.1' },
  responseElements: { 'x-amz-request-id': 'C3D13FE58DE4C810' },
  s3: {
    s3SchemaVersion: '1.0',
    configurationId: 'testConfigRule',
    bucket: {
      name: 'mybucket',
      ownerIdentity: { principalId: 'A3NL1KOZZKExample' },
      arn: 'arn:aws:s3:::mybucket',
    },
    object: { key, size: 1024, eTag: 'd41d8cd98f00b204e9800998ecf8427e', sequencer: '0055AED6DCD90281E5' },
  },
  ...more,
});

const keyOf = (key: string): string | undefined => parseNotification(minio({ key })).records[0]?.key;

const faultOf = (body: unknown): { field: string | undefined; code: string } => {
  try {
    parseNotification(body);
  } catch (error) {
    if (isAppError(error)) return { field: error.field, code: error.code };
    throw error;
  }
  throw new Error('it was parsed');
};

const outcomeOf = (body: unknown): string => {
  try {
    parseNotification(body);
    return 'parsed';
  } catch (error) {
    return isAppError(error) && error.field !== undefined ? error.code : String(error);
  }
};

describe('bodies', () => {
  test('of MinIO', () => {
    expect(parseNotification(minio({ versionId: 'v1' }))).toEqual({
      ignored: 0,
      records: [
        {
          eventName: 'ObjectCreated:Put',
          server: 'minio',
          bucket: 'photos',
          key: 'in/a.txt',
          size: 3,
          etag: 'abc',
          versionId: 'v1',
          sequencer: '18865C8DA0C3AA48',
          eventTime: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
          user: 'alice',
        },
      ],
    });
  });

  test('of AWS, every record', () => {
    const { records } = parseNotification({ Records: [awsRecord('in/one'), awsRecord('in/two+words')] });
    expect(records.map(({ bucket, key, server }) => `${server} ${bucket} ${key}`)).toEqual([
      'aws mybucket in/one',
      'aws mybucket in/two words',
    ]);
    expect(records[0]?.eventTime).toBe(0);
  });

  test('that create nothing', () => {
    const names = [
      's3:ObjectRemoved:Delete',
      's3:ObjectAccessed:Get',
      's3:ObjectCreated:PutTagging',
      's3:ObjectCreated:PutRetention',
      'ObjectTagging:Put',
    ];
    const body = { Records: [...names.map((eventName) => ({ eventName })), awsRecord('in/a')] };
    const { records, ignored } = parseNotification(body);
    expect([records.length, ignored]).toEqual([1, names.length]);
    const test = {
      Service: 'Amazon S3',
      Event: 's3:TestEvent',
      Time: '2026-01-02T03:04:05.678Z',
      Bucket: 'b',
    };
    expect(parseNotification(test)).toEqual({ records: [], ignored: 1 });
  });

  test('with what servers leave out', () => {
    const body = minio(
      { size: undefined, eTag: undefined, sequencer: undefined, versionId: 'null' },
      { userIdentity: {} },
    );
    expect(parseNotification(body).records[0]).toEqual({
      eventName: 'ObjectCreated:Put',
      server: 'minio',
      bucket: 'photos',
      key: 'in/a.txt',
      size: 0,
      eventTime: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
    });
  });

  test('with the key at top level only', () => {
    const body = { ...minio({ key: undefined }), Key: 'photos/in/100%25 a+b.txt' };
    expect(parseNotification(body).records[0]?.key).toBe('in/100%25 a+b.txt');
  });
});

describe('keys are decoded once', () => {
  test.each([
    ['in%2Fa.txt', 'in/a.txt'],
    ['in/a+b%2Bc.txt', 'in/a b+c.txt'],
    ['in%2F100%2525.txt', 'in/100%25.txt'],
    ['in%2F%C3%A9%F0%9F%98%80%0Aline', 'in/é😀\nline'],
  ])('%s', (encoded, key) => {
    expect(keyOf(encoded)).toBe(key);
  });

  test('whatever they are', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (key) => {
        expect(keyOf(encodeEventKey(key))).toBe(key);
      }),
    );
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, unit: fc.constantFrom('%', '+', ' ', '\n', '/', 'a', '2', 'F', 'é') }),
        (key) => {
          expect(keyOf(encodeEventKey(key))).toBe(key);
        },
      ),
    );
  });
});

describe('faults name the place', () => {
  test.each<[string, unknown]>([
    ['the notification', 'text'],
    ['the notification', null],
    ['the notification', []],
    ['Records', {}],
    ['Records', { Records: {} }],
    ['Records[0]', { Records: [7] }],
    ['Records[0].eventName', { Records: [{}] }],
    ['Records[1].s3', { Records: [awsRecord('a'), { eventName: 'ObjectCreated:Put' }] }],
    [
      'Records[0].s3.bucket.name',
      { Records: [{ eventName: 'ObjectCreated:Put', s3: { bucket: { name: 4 } } }] },
    ],
    ['Records[0].s3.object.key', { Records: (minio({ key: undefined }) as { Records: unknown }).Records }],
    ['Records[0].s3.object.key', minio({ key: '%E0%A4%A' })],
    ['Records[0].s3.object.key', minio({ key: '\uD800' })],
    ['Records[0].s3.object.size', minio({ size: -1 })],
    ['Records[0].s3.object.size', minio({ size: '3' })],
    ['Records[0].eventTime', minio({}, { eventTime: 'yesterday' })],
    ['Key', { ...minio({ key: undefined }), Key: 'elsewhere/in/a' }],
    ['Key', { ...minio({ key: undefined }), Key: 'photos/' }],
  ])('%s', (field, body) => {
    expect(faultOf(body)).toEqual({ field, code: 'invalid_input' });
  });

  test('and nothing else is ever thrown', () => {
    const anything = fc.anything({ withBigInt: true, withNullPrototype: true, withSparseArray: true });
    const check = (body: unknown): void => {
      expect(outcomeOf(body)).toMatch(/^(parsed|invalid_input)$/);
    };
    fc.assert(fc.property(anything, check));
    fc.assert(fc.property(fc.record({ Records: fc.array(anything), Key: anything }), check));
    const object = fc.record(
      { key: fc.string(), size: anything, eTag: anything, sequencer: anything },
      { requiredKeys: [] },
    );
    fc.assert(fc.property(object, (fields) => check(minio(fields))));
    const record = fc.record(
      { s3: anything, userIdentity: anything, eventTime: anything },
      { requiredKeys: [] },
    );
    fc.assert(fc.property(record, (fields) => check(minio({}, fields))));
  });
});

test('keys of the listen stream are taken as they are, those sent to a target are decoded', () => {
  const body = (key: string): object => ({ Records: [minioRecord({ key })] });
  for (const key of ['in/a+b', '100%', 'per%20cent', 'é 😀']) {
    expect(parseNotification(body(key), 'plain').records[0]?.key).toBe(key);
    expect(parseNotification(body(encodeEventKey(key))).records[0]?.key).toBe(key);
  }
});
