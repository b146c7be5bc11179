import { backfillRunId, objectRunId } from '@sluice/shared/contracts';
import type { ObjectHead } from '@sluice/shared/stores';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { buildRun } from './build-run.ts';
import { encodeEventKey, objectEvent } from './object-event.ts';
import { parseNotification } from './parse-notification.ts';

const object: ObjectHead = {
  bucket: 'photos',
  key: 'in/two words+é.jpg',
  size: 48_211,
  etag: 'e7a9',
  identity: '48211-1767323045678901832-77',
  lastModified: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  changedAt: Date.UTC(2026, 0, 2, 3, 4, 6, 1),
  contentType: 'image/jpeg',
  metadata: { 'sluice-hop': '2' },
};
const service = { name: 'thumb', uid: 'uid-1', region: 'eu-1' };
const context = { source: 'notification', hop: 2, traceparent: '00-a-b-01', user: 'alice' } as const;

test('a run of an object', () => {
  const { event, ...run } = buildRun(service, object, context);
  expect(run).toEqual({
    id: objectRunId('thumb', 'uid-1', object),
    service: 'thumb',
    service_uid: 'uid-1',
    source: 'notification',
    input: {
      bucket: 'photos',
      key: 'in/two words+é.jpg',
      size: 48_211,
      etag: 'e7a9',
      identity: '48211-1767323045678901832-77',
      last_modified: object.lastModified,
    },
    user: 'alice',
    traceparent: '00-a-b-01',
    hop: 2,
  });
  expect(event).toMatchObject({ kind: 'inline', encoding: 'utf8' });
});

test("its event is MinIO's, byte for byte", () => {
  const { event } = buildRun(service, object, context);
  expect(event.kind === 'inline' ? event.data : '').toBe(
    '{"EventName":"s3:ObjectCreated:Put","Key":"photos/in/two words+é.jpg","Records":[{"eventVersion":"2.0",' +
      '"eventSource":"minio:s3","awsRegion":"eu-1","eventTime":"2026-01-02T03:04:06.001Z",' +
      '"eventName":"s3:ObjectCreated:Put","userIdentity":{"principalId":"alice"},' +
      '"requestParameters":{"principalId":"alice","region":"eu-1","sourceIPAddress":"127.0.0.1"},' +
      '"responseElements":{},"s3":{"s3SchemaVersion":"1.0","configurationId":"Config",' +
      '"bucket":{"name":"photos","ownerIdentity":{"principalId":"alice"},"arn":"arn:aws:s3:::photos"},' +
      '"object":{"key":"in%2Ftwo+words%2B%C3%A9.jpg","size":48211,"eTag":"e7a9","contentType":"image/jpeg",' +
      '"userMetadata":{"content-type":"image/jpeg","X-Amz-Meta-Sluice-Hop":"2"},"sequencer":"1886CAF244FFA780"}},' +
      '"source":{"host":"","port":"","userAgent":"Sluice"}}]}',
  );
});

test('the same object is the same run, whatever found it; another state, service or backfill is another', () => {
  const { id } = buildRun(service, object, context);
  const again = { ...context, source: 'reconciler', traceparent: '00-c-d-01', user: undefined } as const;
  expect(buildRun(service, object, again).id).toBe(id);
  expect(buildRun(service, { ...object, identity: 'other' }, context).id).not.toBe(id);
  expect(buildRun({ ...service, uid: 'uid-2' }, object, context).id).not.toBe(id);
  const backfilled = buildRun(service, object, { ...context, source: 'backfill', again: 'bf-1' }).id;
  expect(backfilled).toBe(backfillRunId('thumb', id, 'bf-1'));
  expect(buildRun(service, object, { ...context, again: 'bf-2' }).id).not.toBe(backfilled);
});

test('the event gives any key and any time back', () => {
  const time = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(8.64e15, -8.64e15, 9e15, Number.NaN));
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), time, time, (key, eventTime, lastModified) => {
      const json = objectEvent({ ...object, key, lastModified }, { eventTime, user: undefined, region: '' });
      const { records } = parseNotification(JSON.parse(json));
      expect(records[0]?.key).toBe(key);
      expect(records[0]?.sequencer).toMatch(/^[0-9A-F]+$/);
    }),
  );
});

test("keys are encoded as Go's url.QueryEscape does", () => {
  expect(encodeEventKey("a b/c+d~e!'()*_-.%\n")).toBe('a+b%2Fc%2Bd~e%21%27%28%29%2A_-.%25%0A');
});
