import { AppError } from '../errors/index.ts';
import { SYSTEM_BUCKET } from './object-store.ts';

/** Bytes of a whole key (S3) and of one part between slashes (every file system in use). */
const maxKeyBytes = 1024;
const maxPartBytes = 255;
const maxMetadataBytes = 2048;

const bucketForm = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])$/;
const ipForm = /^\d+\.\d+\.\d+\.\d+$/;
const metadataName = /^[a-z0-9-]+$/;
/** Printable ASCII without outer spaces: what comes back unchanged from an HTTP header. */
const headerText = /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/;

/** A bucket and the keys below one of its folders, as a definition names them. */
export interface BucketPath {
  readonly bucket: string;
  /** Empty for the whole bucket, else with its trailing slash. */
  readonly prefix: string;
}

/**
 * Whether a text is a bucket name by S3's rules: 3 to 63 of `a-z 0-9 . -`, a letter or digit first and last, no two
 * dots in a row, not like an IP address. True for the system bucket, too.
 */
export function isBucketName(name: string): boolean {
  return bucketFault(name) === undefined;
}

/**
 * Refuses what a user may not name a bucket: a malformed name (see `isBucketName`) or the system bucket's.
 * @param field name of the input at fault, for the error
 * @throws AppError `invalid_input`
 */
export function checkBucketName(name: string, field = 'bucket'): void {
  const fault = name === SYSTEM_BUCKET ? `"${SYSTEM_BUCKET}" is kept for Sluice itself` : bucketFault(name);
  if (fault !== undefined)
    throw new AppError('invalid_input', `The bucket name is not valid: ${fault}.`, { field });
}

function bucketFault(name: string): string | undefined {
  if (name.length < 3 || name.length > 63) return 'it must have 3 to 63 characters';
  if (!bucketForm.test(name)) return 'only a-z, 0-9, dots and hyphens, with a letter or digit first and last';
  if (/\.\.|\.-|-\./.test(name)) return 'a dot may not stand beside another dot or a hyphen';
  if (ipForm.test(name)) return 'it may not look like an IP address';
  return undefined;
}

/** Whether `checkObjectKey` accepts a key. */
export function isObjectKey(key: string): boolean {
  return keyFault(key) === undefined;
}

/**
 * Refuses a key that S3 or a folder can't hold or that could name something outside its bucket: empty, over 1024 bytes,
 * a part that is empty, `.`, `..` or over 255 bytes, a leading slash, NUL, or text that is not Unicode. One trailing
 * slash is fine: it names a folder marker.
 * @param field name of the input at fault, for the error
 * @throws AppError `invalid_input`
 */
export function checkObjectKey(key: string, field = 'key'): void {
  const fault = keyFault(key);
  if (fault !== undefined)
    throw new AppError('invalid_input', `The object key is not valid: ${fault}.`, { field });
}

function keyFault(key: string): string | undefined {
  if (key === '') return 'it is empty';
  if (!key.isWellFormed()) return 'it is not well-formed Unicode';
  if (Buffer.byteLength(key) > maxKeyBytes) return `it has more than ${maxKeyBytes} bytes`;
  if (key.includes('\0')) return 'it has a NUL character';
  if (key.startsWith('/')) return 'it begins with a slash';
  return partsFault(key.endsWith('/') ? key.slice(0, -1) : key);
}

function partsFault(path: string): string | undefined {
  for (const part of path.split('/')) {
    if (part === '') return 'it has two slashes in a row';
    if (part === '.' || part === '..') return `"${part}" may not be a part of it`;
    if (Buffer.byteLength(part) > maxPartBytes) return `a part of it has more than ${maxPartBytes} bytes`;
  }
  return undefined;
}

/**
 * Splits `bucket/folder` as it stands in a definition; outer spaces and slashes do not count (OSCAR §1.2).
 * @param field name of the input at fault, for the error
 * @throws AppError `invalid_input`
 */
export function splitPath(path: string, field = 'path'): BucketPath {
  const trimmed = path.replace(/^[\s/]+|[\s/]+$/g, '');
  const slash = trimmed.indexOf('/');
  const bucket = slash < 0 ? trimmed : trimmed.slice(0, slash);
  checkBucketName(bucket, field);
  if (slash < 0) return { bucket, prefix: '' };
  const prefix = `${trimmed.slice(slash + 1)}/`;
  checkObjectKey(prefix, field);
  return { bucket, prefix };
}

/** Order of two keys by their UTF-8 bytes, which is S3's order; for `Array.sort`. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) return byteRank(left) - byteRank(right);
  }
  return a.length - b.length;
}

/** UTF-16 puts the pairs of astral characters (D800 to DFFF) before E000 to FFFF; UTF-8 has them behind. */
function byteRank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

/** A key for a URL's path: percent-encoded, slashes stay. Decoding it once gives the key. */
export function encodeObjectKey(key: string): string {
  return key.split('/').map(encodePart).join('/');
}

function encodePart(part: string): string {
  return encodeURIComponent(part).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/**
 * Refuses user metadata or a content type that would not come back unchanged through HTTP headers: names `[a-z0-9-]+`,
 * values of printable ASCII without outer spaces, 2 KiB in all (S3).
 * @throws AppError `invalid_input` with field `metadata` or `contentType`
 */
export function checkObjectHeaders(headers: {
  readonly contentType?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}): void {
  const { contentType, metadata = {} } = headers;
  if (
    contentType !== undefined &&
    (contentType === '' || contentType.length > 255 || !headerText.test(contentType))
  ) {
    throw new AppError('invalid_input', 'The content type must be 1 to 255 printable ASCII characters.', {
      field: 'contentType',
    });
  }
  let bytes = 0;
  for (const [name, value] of Object.entries(metadata)) {
    bytes += name.length + value.length;
    if (!metadataName.test(name)) throw metadataError('names are made of a-z, 0-9 and hyphens');
    if (!headerText.test(value)) throw metadataError(`the value of "${name}" is not plain printable ASCII`);
  }
  if (bytes > maxMetadataBytes) throw metadataError(`it has more than ${maxMetadataBytes} bytes`);
}

function metadataError(fault: string): AppError {
  return new AppError('invalid_input', `The object's metadata is not valid: ${fault}.`, {
    field: 'metadata',
  });
}
