import type { Run } from '@sluice/shared/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accessTags, binaryUnits, bucketEntry, bucketListing, keyOfPage } from './bucket-wire.ts';
import { readConditions } from './conditions.ts';
import { readCredentials } from './credentials.ts';
import { isRunId, jobEvents, maxRecords } from './job-event.ts';
import { encodeJobList } from './job-list.ts';
import { endsLine, withoutTimes } from './log-lines.ts';
import { can, nameOf } from './policy.ts';
import { parseStates, runOnWire } from './run-wire.ts';
import { providerOf } from './storage-path.ts';

const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const run: Run = {
  id: 'demo-1',
  service: 'demo',
  service_uid: 'u',
  state: 'succeeded',
  attempt: 1,
  source: 'job',
  event: { kind: 'inline', encoding: 'utf8', data: 'secret event' },
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  hop: 0,
  created_at: at,
  started_at: at + 2000,
  finished_at: at + 14_000,
  infra_failures: 0,
  script_failures: 0,
  timeline: [{ at, state: 'queued', attempt: 1 }],
};

describe('policy', () => {
  const service = { kind: 'service', service: 'demo', uid: 'u' } as const;
  test('a service acts on its own runs only', () => {
    expect(can(service, 'runs.read', { serviceUid: 'u' })).toBe(true);
    expect(can(service, 'runs.read', { serviceUid: 'other' })).toBe(false);
    expect(can(service, 'runs.read', {})).toBe(false);
    expect(can(service, 'service.use')).toBe(true);
    for (const action of [
      'services.read',
      'services.write',
      'objects',
      'buckets',
      'dead-letters',
      'runs.retry',
      'jobs.read',
      'system.read',
    ] as const) {
      expect(can(service, action)).toBe(false);
    }
    expect(nameOf(service)).toBe('service:demo');
  });

  test('the administrator does everything but submit', () => {
    const admin = { kind: 'admin', name: 'oscar' } as const;
    expect(can(admin, 'services.write', { serviceUid: 'any' })).toBe(true);
    expect(can(admin, 'service.use')).toBe(false);
  });
});

describe('credentials', () => {
  test.each([
    [`Basic ${Buffer.from('oscar:pa:ss').toString('base64')}`, { kind: 'basic', pair: 'oscar:pa:ss' }],
    [`basic ${Buffer.from('a:b').toString('base64')}`, { kind: 'basic', pair: 'a:b' }],
    ['Bearer abc', { kind: 'bearer', token: 'abc' }],
    ['Bearer aBearer b', undefined],
    ['bearer abc', undefined],
    ['Basic !!!', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%s', (header, expected) => {
    expect(readCredentials(header)).toEqual(expected);
  });
});

describe('job events', () => {
  const record = (key: string, extra = {}) => ({
    eventSource: 'minio:s3',
    s3: { object: { key } },
    ...extra,
  });
  const body = (value: unknown) => Buffer.from(JSON.stringify(value));

  test('any bytes are one run of those bytes', () => {
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from([0xff, 0]),
      Buffer.from('{"Records":'),
      body([1]),
      body({ Records: [] }),
      body({ Records: 'x' }),
      body({ Records: { 0: 1 } }),
    ]) {
      expect(jobEvents(bytes)).toEqual([{ body: bytes, hop: 0 }]);
    }
  });

  test('the user is the one of OSCAR §4.2', () => {
    const parameters = { principalId: 'ada', sourceIPAddress: '1.2.3.4' };
    const one = body({ Records: [record('a', { requestParameters: parameters })] });
    expect(jobEvents(one)).toEqual([{ body: one, hop: 0, user: 'ada' }]);
    const half = body({ Records: [record('a', { requestParameters: { principalId: 'ada' } })] });
    expect(jobEvents(half)).toEqual([{ body: half, hop: 0 }]);
  });

  test('several records are several runs, each with its own', () => {
    const events = jobEvents(body({ EventName: 'x', Records: [record('a'), record('b')] })) ?? [];
    expect(events.map((event) => JSON.parse(Buffer.from(event.body).toString()) as unknown)).toEqual([
      { EventName: 'x', Records: [record('a')] },
      { EventName: 'x', Records: [record('b')] },
    ]);
    expect(jobEvents(body({ Records: Array.from({ length: maxRecords + 1 }, () => 1) }))).toBeUndefined();
  });

  test('the hop count of an output is carried on', () => {
    const userMetadata = { 'X-Amz-Meta-Sluice-Hop': '7' };
    expect(jobEvents(body({ Records: [{ s3: { object: { key: 'a', userMetadata } } }] }))?.[0]?.hop).toBe(7);
  });

  test('no body throws', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.jsonValue().map((value) => body({ Records: value })),
          fc.jsonValue().map((value) => body({ Records: [value, value] })),
        ),
        (bytes) => {
          expect(jobEvents(bytes)?.length).toBeGreaterThan(0);
        },
      ),
    );
  });

  test('ids are DNS labels', () => {
    expect(['demo-1', 'a', 'a'.repeat(63)].every((id) => isRunId(id))).toBe(true);
    expect(['', 'A', '-a', 'a-', 'a.b', 'a/b', 'a'.repeat(64), 'a\n'].some((id) => isRunId(id))).toBe(false);
  });
});

describe('job list', () => {
  test('is as OSCAR §12.3 has it, in the order of the runs', () => {
    const waiting: Run = { ...run, id: 'demo-0', state: 'queued' };
    const { finished_at: _f, started_at: _s, ...fresh } = run;
    expect(encodeJobList([run, waiting, { ...fresh, id: 'demo-2', state: 'starting' }], 'n<')).toBe(
      '{"jobs":{"demo-1":{"status":"Succeeded","creation_time":"2026-01-02T03:04:05Z","start_time":"2026-01-02T03:04:07Z","finish_time":"2026-01-02T03:04:19Z"},' +
        '"demo-0":{"status":"Suspended"},"demo-2":{"status":"Pending","creation_time":"2026-01-02T03:04:05Z"}},"next_page":"n\\u003c"}',
    );
    expect(encodeJobList([], undefined)).toBe('{"jobs":{}}');
  });

  test.each([
    ['failed', 'Failed'],
    ['cancelled', 'Failed'],
    ['superseded', 'Failed'],
    ['running', 'Running'],
  ] as const)('%s is %s', (state, status) => {
    expect(encodeJobList([{ ...run, state }], undefined)).toContain(`"status":"${status}"`);
  });
});

describe('runs on the wire', () => {
  test('times are RFC 3339, absent fields are left out, the event is not shown', () => {
    const { finished_at: _f, ...open } = run;
    expect(
      runOnWire({
        ...open,
        input: { bucket: 'b', key: 'k', size: 1, etag: 'e', identity: 'i', last_modified: at },
      }),
    ).toEqual({
      id: 'demo-1',
      service: 'demo',
      state: 'succeeded',
      attempt: 1,
      source: 'job',
      hop: 0,
      trace_id: 'a'.repeat(32),
      input: { bucket: 'b', key: 'k', size: 1, etag: 'e' },
      created_at: '2026-01-02T03:04:05.678Z',
      started_at: '2026-01-02T03:04:07.678Z',
      timeline: [{ at: '2026-01-02T03:04:05.678Z', state: 'queued', attempt: 1 }],
    });
  });

  test('states are a comma list', () => {
    expect(parseStates('failed,queued')).toEqual(['queued', 'failed']);
    expect(parseStates('failed, failed')).toEqual(['failed']);
    expect(parseStates('failed,done')).toBeUndefined();
    expect(parseStates('')).toBeUndefined();
  });
});

describe('buckets', () => {
  const bucket = {
    name: 'demo',
    createdAt: at,
    tags: {
      owner: 'ada',
      from_service: 'demo',
      owner_name: 'Ada',
      visibility: 'restricted',
      allowed_users: 'bob carl',
    },
  };
  test('an entry is as OSCAR §12.3 has it', () => {
    expect(bucketEntry(bucket, { bytes: 1_572_864, objects: 3, complete: true })).toEqual({
      bucket_name: 'demo',
      visibility: 'restricted',
      allowed_users: ['bob', 'carl'],
      owner: 'ada',
      metadata: { from_service: 'demo', owner_name: 'Ada' },
      storage_quota: { source: 'unset' },
      storage_usage: { used: '1.5Mi', used_bytes: 1_572_864, objects: 3 },
      attribution: 'complete',
    });
  });

  test('a listing keeps the owner among the tags and gives pages', () => {
    const object = {
      bucket: 'demo',
      key: 'in/a',
      size: 5,
      etag: 'e',
      identity: 'i',
      lastModified: at,
      changedAt: at,
    };
    const listing = bucketListing(
      { ...bucket, tags: {} },
      { bytes: 5, objects: 1, complete: false },
      { objects: [object], next: 'in/ä' },
    );
    expect(listing).toMatchObject({
      visibility: 'private',
      allowed_users: null,
      owner: 'cluster_admin',
      attribution: 'partial',
      is_truncated: true,
      returned_items: 1,
      objects: [{ object_name: 'in/a', size_bytes: 5, last_modified: '2026-01-02 03:04:05 +0000 UTC' }],
    });
    expect(keyOfPage(listing.next_page ?? '')).toBe('in/ä');
    expect(keyOfPage('not a page!')).toBeUndefined();
  });

  test.each([
    [0, '0'],
    [1, '1'],
    [1023, '1023'],
    [1024, '1Ki'],
    [1536, '1.5Ki'],
    [52_428_800, '50Mi'],
    [2 ** 40, '1Ti'],
    [1_048_575, '1024Ki'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(binaryUnits(bytes)).toBe(text);
  });

  test('users must fit into a tag', () => {
    expect(accessTags('restricted', ['a ', ' b'])).toEqual({
      visibility: 'restricted',
      allowed_users: 'a b',
    });
    expect(accessTags('private', ['a'])).toEqual({ visibility: 'private' });
    expect(accessTags('restricted', ['x'.repeat(257)])).toBeUndefined();
  });
});

describe('conditions', () => {
  test('etags with and without quotes, weak ones, lists', () => {
    expect(readConditions({})).toEqual({});
    expect(readConditions({ 'if-match': '"abc"' })).toEqual({ ifMatch: 'abc' });
    expect(readConditions({ 'if-match': 'abc' })).toEqual({ ifMatch: 'abc' });
    expect(readConditions({ 'if-match': '*', 'if-none-match': '*' })).toEqual({ ifNoneMatch: '*' });
    expect(readConditions({ 'if-none-match': 'W/"a", "b"' })).toEqual({ ifNoneMatch: ['a', 'b'] });
    expect(() => readConditions({ 'if-match': '"a","b"' })).toThrow('one etag');
    expect(() => readConditions({ 'if-none-match': 'a"b' })).toThrow('If-None-Match');
  });
});

describe('log lines', () => {
  const stored =
    '2026-01-02T03:04:05.678Z one\n2026-01-02T03:04:05.679Z \nno stamp\n2026-01-02T03:04:05.680Z two: 2026-01-02T03:04:05.680Z x';
  test('lose their times', () => {
    expect(withoutTimes(Buffer.from(stored), true).toString()).toBe(
      'one\n\nno stamp\ntwo: 2026-01-02T03:04:05.680Z x',
    );
    expect(withoutTimes(Buffer.from('2026-01-02T03:04:05.678Z x'), false).toString()).toBe(
      '2026-01-02T03:04:05.678Z x',
    );
    expect(withoutTimes(new Uint8Array(0), true).byteLength).toBe(0);
    expect(endsLine(Buffer.from('a\n')) && !endsLine(Buffer.from('a')) && !endsLine(Buffer.from(''))).toBe(
      true,
    );
  });

  test('any bytes come through', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array().filter((line) => !line.includes(10))), (lines) => {
        const wanted = Buffer.concat(lines.map((line) => Buffer.concat([line, Buffer.from('\n')])));
        const given = Buffer.concat(
          lines.map((line) =>
            Buffer.concat([Buffer.from('2026-01-02T03:04:05.678Z '), line, Buffer.from('\n')]),
          ),
        );
        expect(withoutTimes(given, true).equals(wanted)).toBe(true);
      }),
    );
  });
});

test.each([
  ['minio', 'minio', 'default'],
  ['MinIO.default', 'minio', 'default'],
  [' s3.eu.west ', 's3', 'eu.west'],
  ['webdav.', 'webdav', 'default'],
  ['', '', 'default'],
])('%j is %s.%s', (text, name, id) => {
  expect(providerOf(text)).toEqual({ name, id });
});
