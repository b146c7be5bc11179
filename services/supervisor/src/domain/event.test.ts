import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { recogniseEvent } from './event.ts';
import { decodeBase64, decodeObjectKey } from './text.ts';

const record = (source = 'minio:s3', key = 'in%2Ffile.txt') => ({
  eventVersion: '2.0',
  eventSource: source,
  eventTime: '2026-01-02T03:04:05.678Z',
  s3: { bucket: { name: 'photos', arn: 'arn:aws:s3:::photos' }, object: { key, size: 3, eTag: 'e' } },
});
const event = (...records: unknown[]): Record<string, unknown> => ({
  EventName: 's3:ObjectCreated:Put',
  Key: 'photos/in/file.txt',
  Records: records,
});
const text = JSON.stringify;
const content = (body: Uint8Array | string): string | undefined => {
  const found = recogniseEvent(body);
  return found.kind === 'unknown' ? Buffer.from(found.content).toString('latin1') : undefined;
};

describe('storage events', () => {
  test('of MinIO, with time and decoded key', () => {
    const body = text(event(record()));
    expect(recogniseEvent(body)).toEqual({
      kind: 'storage',
      provider: { type: 'minio', id: 'default' },
      bucket: 'photos',
      key: 'in/file.txt',
      time: '2026-01-02T03:04:05.678Z',
      records: 1,
      query: [],
      eventText: body,
    });
  });

  test('of AWS, from bytes', () => {
    const found = recogniseEvent(Buffer.from(text(event(record('aws:s3')))));
    expect(found).toMatchObject({ kind: 'storage', provider: { type: 's3', id: 'default' } });
  });

  test('say how many records they have; the first is used', () => {
    const found = recogniseEvent(text(event(record('minio:s3', 'in/a'), record('minio:s3', 'in/b'))));
    expect(found).toMatchObject({ key: 'in/a', records: 2 });
  });

  test.each([
    [{ s3: undefined }],
    [{ s3: { bucket: { name: 'b' }, object: {} } }],
    [{ s3: { bucket: { name: '' }, object: { key: 'k' } } }],
    [{ s3: { bucket: 'b', object: { key: 'k' } } }],
    [{ s3: { bucket: { name: 'b' }, object: { key: 7 } } }],
  ])('without bucket and key are malformed: %j', (change) => {
    expect(recogniseEvent(text(event({ ...record(), ...change })))).toMatchObject({ kind: 'malformed' });
  });

  test.each([
    ['empty list', event()],
    ['list of numbers', event(1, 2)],
    ['another source', event(record('azure:blob'))],
    ['records that are no list', { Records: { eventSource: 'aws:s3' } }],
  ])('%s is an unknown event', (_name, value) => {
    expect(content(text(value))).toBe(text(value));
  });

  test.each([
    ['OneTrigger', 'onedata'],
    ['rucio', 'rucio'],
  ])('of %s are recognised, not served', (source, provider) => {
    expect(recogniseEvent(text(event(record(source))))).toMatchObject({ kind: 'unsupported', provider });
  });
});

describe('other systems', () => {
  test('dCache: event and subscription', () => {
    const body = text({ event: { name: 'a.txt', mask: ['IN_CREATE'] }, subscription: 'https://dcache/1' });
    expect(recogniseEvent(body)).toMatchObject({ kind: 'unsupported', provider: 'dcache', eventText: body });
  });

  test('Rucio: event_type and payload.scope', () => {
    const body = text({ event_type: 'transfer-done', payload: { scope: 's', name: 'n' } });
    expect(recogniseEvent(body)).toMatchObject({ kind: 'unsupported', provider: 'rucio' });
    expect(content(text({ event_type: 'x', payload: {} }))).toBeDefined();
  });
});

describe('API gateway', () => {
  test('query parameters are kept and the body is recognised', () => {
    const inner = text(event(record()));
    const found = recogniseEvent(
      text({ httpMethod: 'POST', queryStringParameters: { a: 'x', n: 1, o: {}, z: null }, body: inner }),
    );
    expect(found).toMatchObject({
      kind: 'storage',
      query: [
        ['a', 'x'],
        ['n', '1'],
      ],
      eventText: inner,
    });
  });

  test('a body in base64 is decoded, none is empty, an object is written as JSON', () => {
    expect(content(text({ httpMethod: 'POST', body: 'aGVsbG8=' }))).toBe('hello');
    expect(content(text({ httpMethod: 'GET', queryStringParameters: null }))).toBe('');
    expect(content(text({ httpMethod: 'GET', body: null }))).toBe('');
    expect(content(text({ httpMethod: 'GET', body: { a: [1] } }))).toBe('{"a":[1]}');
  });
});

describe('delegated events', () => {
  test.each([
    [undefined, { type: 'minio', id: 'default' }],
    ['default', { type: 'minio', id: 'default' }],
    ['minio', { type: 'minio', id: 'default' }],
    ['minio.default', { type: 'minio', id: 'default' }],
    ['MINIO.default', { type: 'minio', id: 'default' }],
    ['s3.default', { type: 's3', id: 'default' }],
    ['minio.other', { type: 'minio', id: 'other' }],
    ['cluster-2', { type: 'minio', id: 'cluster-2' }],
    [7, { type: 'minio', id: 'default' }],
  ])('provider %j', (provider, expected) => {
    const inner = event(record());
    for (const value of [inner, text(inner)]) {
      const found = recogniseEvent(text({ storage_provider: provider, event: value }));
      expect(found).toMatchObject({ kind: 'storage', provider: expected, eventText: text(inner) });
    }
  });

  test('of something unknown: its text or JSON is the file, EVENT is the whole', () => {
    const body = text({ event: { a: 1 } });
    expect(recogniseEvent(body)).toMatchObject({ kind: 'unknown', content: '{"a":1}', eventText: body });
    expect(content(text({ event: 'aGk=' }))).toBe('hi');
    expect(content(text({ event: null }))).toBe('null');
  });

  test('nesting is opened eight deep', () => {
    const nest = (depth: number): unknown => (depth === 0 ? event(record()) : { event: nest(depth - 1) });
    expect(recogniseEvent(text(nest(7)))).toMatchObject({ kind: 'storage' });
    expect(recogniseEvent(text(nest(8)))).toMatchObject({ kind: 'unknown' });
    expect(recogniseEvent(text(nest(500)))).toMatchObject({ kind: 'unknown' });
  });

  test('JSON nested too deeply to be written again does not break', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    expect(content(deep)).toBe(deep);
    expect(content(`{"event":${deep}}`)).toBe(`{"event":${deep}}`);
  });
});

describe('unknown events', () => {
  test.each(['1', '1234', 'true', 'null', '-0.5e3', '[]', '[1,{"a":2}]', '{}', '{"a":"b"}', ' {"a" : 1}\n'])(
    'JSON stays as it is: %s',
    (body) => {
      expect(content(body)).toBe(body);
    },
  );

  test('base64 is decoded, also in lines and with a line break at the end', () => {
    expect(content('aGVsbG8gd29ybGQ=')).toBe('hello world');
    expect(content('aGVsbG8g\r\nd29ybGQ=\n')).toBe('hello world');
    expect(content('')).toBe('');
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    expect(content(bytes.toString('base64'))).toBe(bytes.toString('latin1'));
  });

  test('a JSON string is opened once', () => {
    expect(content(text('aGVsbG8='))).toBe('hello');
    expect(content(text('{"a":1}'))).toBe('{"a":1}');
    expect(content(text('hello, world'))).toBe('hello, world');
  });

  test('text that is not base64 stays as it is', () => {
    expect(content('hello, world')).toBe('hello, world');
    expect(content('abcde')).toBe('abcde');
    expect(content('{"a":')).toBe('{"a":');
  });

  test('bytes that are not text are kept, and there is no EVENT', () => {
    const bytes = Buffer.from([0xff, 0xfe, 0x00, 0x80]);
    expect(recogniseEvent(bytes)).toEqual({
      kind: 'unknown',
      query: [],
      eventText: undefined,
      content: bytes,
    });
  });
});

describe('whatever comes', () => {
  const kinds = ['storage', 'unsupported', 'malformed', 'unknown'];

  test('any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(kinds).toContain(recogniseEvent(bytes).kind);
      }),
    );
  });

  test('any JSON', () => {
    fc.assert(
      fc.property(fc.json(), (body) => {
        expect(kinds).toContain(recogniseEvent(body).kind);
      }),
    );
  });

  test('any JSON in the places that are looked at', () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    const shaped = fc.record(
      {
        httpMethod: value,
        body: value,
        queryStringParameters: value,
        event: value,
        subscription: value,
        storage_provider: value,
        event_type: value,
        payload: value,
        Records: fc.oneof(
          value,
          fc.array(fc.record({ eventSource: fc.constantFrom('aws:s3', 'minio:s3', 'x'), s3: value })),
        ),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(shaped, (body) => {
        expect(kinds).toContain(recogniseEvent(JSON.stringify(body)).kind);
      }),
    );
    fc.assert(
      fc.property(shaped, (body) => {
        expect(kinds).toContain(recogniseEvent(JSON.stringify({ event: JSON.stringify(body) })).kind);
      }),
    );
  });

  test('what a client encodes, the script finds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), (bytes) => {
        const encoded = Buffer.from(bytes).toString('base64');
        fc.pre(!/^(?:[0-9]+|true|null)$/.test(encoded));
        expect(content(encoded)).toBe(Buffer.from(bytes).toString('latin1'));
      }),
    );
  });
});

describe('keys', () => {
  test.each([
    ['in%2Ffile.txt', 'in/file.txt'],
    ['in/a+b.txt', 'in/a b.txt'],
    ['in/a%2Bb.txt', 'in/a+b.txt'],
    ['in/100%25.txt', 'in/100%.txt'],
    ['in/%252F', 'in/%2F'],
    ['in/%E2%82%AC', 'in/€'],
    ['in/100%', 'in/100%'],
    ['in/%zz%41', 'in/%zzA'],
    ['in/%ff', 'in/\u{fffd}'],
    ['in/a%0Ab', 'in/a\nb'],
  ])('%s', (encoded, decoded) => {
    expect(decodeObjectKey(encoded)).toBe(decoded);
  });

  test('what was encoded comes back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (key) => {
        fc.pre(key.isWellFormed());
        expect(decodeObjectKey(encodeURIComponent(key))).toBe(key);
        expect(decodeObjectKey(encodeURIComponent(key).replaceAll('%20', '+'))).toBe(key);
      }),
    );
  });

  test('any text decodes', () => {
    fc.assert(
      fc.property(fc.string(), (key) => {
        expect(typeof decodeObjectKey(key)).toBe('string');
      }),
    );
  });
});

test('base64 is strict', () => {
  for (const bad of ['a', 'ab', 'abc', 'ab=c', '====', 'a-_b', 'YWJj.'])
    expect(decodeBase64(bad)).toBeUndefined();
  expect(Buffer.from(decodeBase64('YWI=') ?? []).toString()).toBe('ab');
});

test('base64 of ten megabytes is decoded, and as much text that is none is refused', () => {
  const encoded = Buffer.alloc(7_800_000, 'sluice').toString('base64');
  expect(decodeBase64(encoded)?.byteLength).toBe(7_800_000);
  expect(decodeBase64(`${encoded.slice(0, -1)}!`)).toBeUndefined();
});
