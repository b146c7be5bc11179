import { decodeBase64, decodeObjectKey, decodeUtf8, isRecord, parseJson, stringifyJson } from './text.ts';

/** Envelopes within envelopes past this many are not opened any more: the innermost is then an unknown event. */
const maxNesting = 8;

/** Query parameters of an API-gateway event, names still without `CONT_VAR_`. */
export type QueryParameters = readonly (readonly [name: string, value: string])[];

interface Recognised {
  readonly query: QueryParameters;
  /** What the script finds as `EVENT`; absent where the body is not text. */
  readonly eventText: string | undefined;
}

/** An object was made in an S3 or MinIO bucket. */
export interface StorageEvent extends Recognised {
  readonly kind: 'storage';
  /** `minio.default`, `s3.default`, `minio.<id>`: where the object lies. */
  readonly provider: { readonly type: 's3' | 'minio'; readonly id: string };
  readonly bucket: string;
  /** Decoded once. */
  readonly key: string;
  readonly time: string | undefined;
  /** Records in the event; only the first is used (OSCAR §7.3). */
  readonly records: number;
}

/** An event of a storage system that cannot be read from (yet). */
export interface UnsupportedEvent extends Recognised {
  readonly kind: 'unsupported';
  readonly provider: 'dcache' | 'rucio' | 'onedata';
}

/** It says that it is a storage event, but names no object. */
export interface MalformedEvent extends Recognised {
  readonly kind: 'malformed';
  readonly reason: string;
}

/** Anything else: its bytes are the script's input file. */
export interface UnknownEvent extends Recognised {
  readonly kind: 'unknown';
  readonly content: Uint8Array | string;
}

export type RecognisedEvent = StorageEvent | UnsupportedEvent | MalformedEvent | UnknownEvent;

interface Level {
  /** The text that `value` was read from; undefined for an object inside another one. */
  readonly text: string | undefined;
  /** What the text is as JSON; undefined where it is not JSON. */
  readonly value: unknown;
}

interface Search {
  readonly whole: string;
  readonly query: (readonly [string, string])[];
  provider: string | undefined;
}

/**
 * Says what an event is (OSCAR §7.3, first match wins). Never throws, whatever the bytes: numbers, booleans and lists at
 * the top are unknown events (OSCAR §10.64), a JSON string is opened once (oscar-js sends one), envelopes are opened
 * eight deep.
 */
export function recogniseEvent(body: Uint8Array | string): RecognisedEvent {
  const whole = typeof body === 'string' ? body : decodeUtf8(body);
  if (whole === undefined) return { kind: 'unknown', query: [], eventText: undefined, content: body };
  const search: Search = { whole, query: [], provider: undefined };
  let level: Level = { text: whole, value: parseJson(whole) };
  for (let depth = 0; depth < maxNesting; depth += 1) {
    const found = inspect(level, search);
    if (!('open' in found)) return found;
    level = enter(found.open);
  }
  return unknown(level, search);
}

/** One level: an answer, or what to open next. */
function inspect(level: Level, search: Search): RecognisedEvent | { open: unknown } {
  const { value } = level;
  if (!isRecord(value)) return unknown(level, search);
  if (Object.hasOwn(value, 'httpMethod')) {
    search.query.push(...queryParameters(value['queryStringParameters']));
    return { open: value['body'] ?? '' };
  }
  const isEnvelope = Object.hasOwn(value, 'event');
  const base = { query: search.query, eventText: eventText(level, search) };
  if (isEnvelope && Object.hasOwn(value, 'subscription')) {
    return { ...base, kind: 'unsupported', provider: 'dcache' };
  }
  const payload = value['payload'];
  if (Object.hasOwn(value, 'event_type') && isRecord(payload) && Object.hasOwn(payload, 'scope')) {
    return { ...base, kind: 'unsupported', provider: 'rucio' };
  }
  if (isEnvelope) {
    const provider = value['storage_provider'];
    if (typeof provider === 'string' && provider !== '') search.provider = provider;
    return { open: value['event'] };
  }
  return recordsEvent(value, level, search) ?? unknown(level, search);
}

function enter(inner: unknown): Level {
  return typeof inner === 'string'
    ? { text: inner, value: parseJson(inner) }
    : { text: undefined, value: inner };
}

function recordsEvent(
  value: Record<string, unknown>,
  level: Level,
  search: Search,
): RecognisedEvent | undefined {
  const records = value['Records'];
  if (!Array.isArray(records)) return undefined;
  const first: unknown = records[0];
  if (!isRecord(first)) return undefined;
  const base = { query: search.query, eventText: eventText(level, search) };
  switch (first['eventSource']) {
    case 'aws:s3':
      return storageEvent('s3', first, records.length, base, search);
    case 'minio:s3':
      return storageEvent('minio', first, records.length, base, search);
    case 'OneTrigger':
      return { ...base, kind: 'unsupported', provider: 'onedata' };
    case 'rucio':
      return { ...base, kind: 'unsupported', provider: 'rucio' };
    default:
      return undefined;
  }
}

function storageEvent(
  type: 's3' | 'minio',
  record: Record<string, unknown>,
  records: number,
  base: Recognised,
  search: Search,
): StorageEvent | MalformedEvent {
  const s3 = record['s3'];
  const bucket = isRecord(s3) && isRecord(s3['bucket']) ? s3['bucket']['name'] : undefined;
  const key = isRecord(s3) && isRecord(s3['object']) ? s3['object']['key'] : undefined;
  if (typeof bucket !== 'string' || bucket === '' || typeof key !== 'string' || key === '') {
    const reason = `it says that it comes from ${type === 's3' ? 'S3' : 'MinIO'} but names no bucket and key`;
    return { ...base, kind: 'malformed', reason };
  }
  const time = record['eventTime'];
  return {
    ...base,
    kind: 'storage',
    provider: providerOf(type, search.provider),
    bucket,
    key: decodeObjectKey(key),
    time: typeof time === 'string' && time !== '' ? time : undefined,
    records,
  };
}

/** The envelope's `storage_provider` is an id (`default`), a type (`minio`) or both (`minio.default`, OSCAR §10.46). */
function providerOf(type: 's3' | 'minio', named: string | undefined): StorageEvent['provider'] {
  if (named === undefined) return { type, id: 'default' };
  const [first = '', ...rest] = named.split('.');
  const lower = first.toLowerCase();
  if (lower !== 's3' && lower !== 'minio') return { type, id: named };
  return { type: lower, id: rest.length === 0 ? 'default' : rest.join('.') };
}

/**
 * The input file of an unknown event (OSCAR §7.3): JSON text stays as it is; other text is decoded from base64, which
 * OSCAR's clients always send; text that is not base64 either is written as it is, where the original fails.
 */
function unknown(level: Level, search: Search): UnknownEvent {
  const base = { kind: 'unknown', query: search.query, eventText: search.whole } as const;
  const { text, value } = level;
  if (text === undefined) return { ...base, content: stringifyJson(value) ?? search.whole };
  if (value === undefined) return { ...base, content: decodeBase64(text) ?? text };
  if (typeof value !== 'string') return { ...base, content: text };
  return { ...base, content: parseJson(value) === undefined ? (decodeBase64(value) ?? value) : value };
}

function eventText(level: Level, search: Search): string {
  return level.text ?? stringifyJson(level.value) ?? search.whole;
}

function* queryParameters(value: unknown): Iterable<readonly [string, string]> {
  if (!isRecord(value)) return;
  for (const [name, parameter] of Object.entries(value)) {
    if (['string', 'number', 'boolean'].includes(typeof parameter)) yield [name, String(parameter)];
  }
}
