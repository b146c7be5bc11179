import { AppError } from '@sluice/shared/errors';

/** One created object, as an S3 server's notification tells of it. */
export interface NotificationRecord {
  /** Without `s3:`: `ObjectCreated:Put`. */
  readonly eventName: string;
  readonly server: 'minio' | 'aws' | 'other';
  readonly bucket: string;
  /** Decoded. */
  readonly key: string;
  readonly size: number;
  /** Without quotes. */
  readonly etag?: string;
  /** Absent also where the server says `null`, which is a bucket without versions. */
  readonly versionId?: string;
  readonly sequencer?: string;
  readonly contentType?: string;
  /** As the server says it (`userMetadata`); absent where it says none, or not in texts. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Epoch milliseconds. */
  readonly eventTime?: number;
  readonly user?: string;
}

export interface ParsedNotification {
  readonly records: readonly NotificationRecord[];
  /** Records of events that create nothing: removals, tags, retention, a server's test. */
  readonly ignored: number;
}

type Fields = Readonly<Record<string, unknown>>;

/** MinIO files these under `ObjectCreated`, though the object's bytes stay as they are. */
const notCreations: ReadonlySet<string> = new Set([
  'ObjectCreated:PutRetention',
  'ObjectCreated:PutLegalHold',
  'ObjectCreated:PutTagging',
  'ObjectCreated:DeleteTagging',
]);

/**
 * Reads a bucket notification of MinIO (`{EventName, Key, Records}`, OSCAR §4.1) or of AWS (`{Records}`); every record counts
 * (OSCAR §10.2, item 21). Keys are decoded once: `+` is a space, then percent.
 * @param keys `plain` for MinIO's listen stream, whose keys are not encoded, unlike those that go to its targets
 * @throws AppError `invalid_input` whose `field` names the place, and nothing else
 */
export function parseNotification(body: unknown, keys: 'encoded' | 'plain' = 'encoded'): ParsedNotification {
  if (!isFields(body)) throw fault('', 'must be a JSON object');
  if (body['Event'] === 's3:TestEvent') return { records: [], ignored: 1 };
  const list = body['Records'];
  if (!Array.isArray(list)) throw fault('Records', 'must be a list');
  const records: NotificationRecord[] = [];
  for (const [at, record] of list.entries()) {
    const outerKey = list.length === 1 ? body['Key'] : undefined;
    const parsed = parseRecord(record, `Records[${at}]`, { keys, outerKey });
    if (parsed !== undefined) records.push(parsed);
  }
  return { records, ignored: list.length - records.length };
}

interface KeyForm {
  readonly keys: 'encoded' | 'plain';
  /** `bucket/key`, not encoded: MinIO says it a second time beside its one record. */
  readonly outerKey: unknown;
}

function parseRecord(record: unknown, place: string, form: KeyForm): NotificationRecord | undefined {
  if (!isFields(record)) throw fault(place, 'must be an object');
  const eventName = text(record, 'eventName', place).replace(/^s3:/, '');
  if (!eventName.startsWith('ObjectCreated:') || notCreations.has(eventName)) return undefined;
  const s3 = fields(record, 's3', place);
  const bucket = text(fields(s3, 'bucket', `${place}.s3`), 'name', `${place}.s3.bucket`);
  const object = fields(s3, 'object', `${place}.s3`);
  const where = `${place}.s3.object`;
  const etag = optionalText(object, 'eTag', where)?.replace(/^"(.*)"$/, '$1');
  const versionId = optionalText(object, 'versionId', where);
  const sequencer = optionalText(object, 'sequencer', where);
  const contentType = optionalText(object, 'contentType', where);
  const metadata = object['userMetadata'];
  const eventTime = optionalTime(record, 'eventTime', place);
  const user = userOf(record, place);
  return {
    eventName,
    server: serverOf(record),
    bucket,
    key: keyOf(object, where, bucket, form),
    size: sizeOf(object, where),
    ...(etag === undefined ? {} : { etag }),
    ...(versionId === undefined || versionId === 'null' ? {} : { versionId }),
    ...(sequencer === undefined ? {} : { sequencer }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(isTexts(metadata) ? { metadata } : {}),
    ...(eventTime === undefined ? {} : { eventTime }),
    ...(user === undefined ? {} : { user }),
  };
}

function keyOf(object: Fields, place: string, bucket: string, { keys, outerKey }: KeyForm): string {
  const given = optionalText(object, 'key', place);
  if (given !== undefined) {
    return wellFormed(keys === 'plain' ? given : decodeKey(given, `${place}.key`), `${place}.key`);
  }
  if (outerKey === undefined || outerKey === null) throw fault(`${place}.key`, 'is missing');
  if (
    typeof outerKey !== 'string' ||
    !outerKey.startsWith(`${bucket}/`) ||
    outerKey.length === bucket.length + 1
  ) {
    throw fault('Key', 'must be the bucket, a slash and the key');
  }
  return wellFormed(outerKey.slice(bucket.length + 1), 'Key');
}

function decodeKey(encoded: string, place: string): string {
  try {
    return decodeURIComponent(encoded.replaceAll('+', ' '));
  } catch (error) {
    throw fault(place, 'is not percent-encoded UTF-8', error);
  }
}

function wellFormed(key: string, place: string): string {
  if (!key.isWellFormed()) throw fault(place, 'is not well-formed Unicode');
  return key;
}

function serverOf(record: Fields): NotificationRecord['server'] {
  const source = record['eventSource'];
  if (source === 'minio:s3') return 'minio';
  return source === 'aws:s3' ? 'aws' : 'other';
}

function userOf(record: Fields, place: string): string | undefined {
  const identity = record['userIdentity'];
  return isFields(identity) ? optionalText(identity, 'principalId', `${place}.userIdentity`) : undefined;
}

/** MinIO leaves the size of an empty object out. */
function sizeOf(object: Fields, place: string): number {
  const size = object['size'] ?? 0;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw fault(`${place}.size`, 'must be a number of bytes');
  }
  return size;
}

function optionalTime(from: Fields, name: string, place: string): number | undefined {
  const value = optionalText(from, name, place);
  if (value === undefined) return undefined;
  const at = Date.parse(value);
  if (Number.isNaN(at)) throw fault(`${place}.${name}`, 'must be a time in ISO 8601');
  return at;
}

function fields(from: Fields, name: string, place: string): Fields {
  const value = from[name];
  if (!isFields(value)) throw fault(`${place}.${name}`, 'must be an object');
  return value;
}

function text(from: Fields, name: string, place: string): string {
  const value = optionalText(from, name, place);
  if (value === undefined) throw fault(`${place}.${name}`, 'is missing');
  return value;
}

/** Empty counts as absent. */
function optionalText(from: Fields, name: string, place: string): string | undefined {
  const value = from[name];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw fault(`${place}.${name}`, 'must be a text');
  return value;
}

function isTexts(value: unknown): value is Readonly<Record<string, string>> {
  return isFields(value) && Object.values(value).every((one) => typeof one === 'string');
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fault(place: string, what: string, cause?: unknown): AppError {
  const field = place === '' ? 'the notification' : place;
  return new AppError('invalid_input', `The bucket notification is not valid: ${field} ${what}.`, {
    field,
    cause,
  });
}
