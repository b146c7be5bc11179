import { buildKinds, isBuildKind, type BuildRequest } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';

/** Of `/build/start`: characters of the base64, and of the text in it. */
const startEncoded = 10_000_000;
const startDecoded = 5_000_000;
/** Of `/build/ensure`: characters of the base64, and bytes of the file. */
const ensureEncoded = 750_000;
const ensureDecoded = 524_288;
const maxSource = 512;
/** Characters of a builder's name that are said again. */
const maxBuilder = 63;
const maxPlatforms = 8;
const defaultMaxAgeHours = 24;
const hourMs = 3_600_000;

/** What a tag of an image may be. */
const tagForm = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const platformForm = /^[a-z0-9]{1,16}\/[a-z0-9]{1,16}(?:\/[a-z0-9]{1,16})?$/;
const base64Form = /^[A-Za-z0-9+/]*={0,2}$/;

/** Keeps a byte order mark: the file is used as it was sent. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

type Body = Readonly<Record<string, unknown>>;

/**
 * A request of `/build/start`, checked in the original's order and words.
 * @throws AppError `invalid_input`, `too_large`
 */
export function readBuildStart(body: unknown, login: string): BuildRequest {
  if (body === null) throw wrong('No JSON payload provided for build.', 'body');
  const fields = isObject(body) ? body : {};
  for (const name of ['source', 'target', 'kind']) {
    if (!Object.hasOwn(fields, name)) throw wrong(`No ${name} provided for build.`, name);
  }
  const target = targetOf(fields['target'], login);
  return {
    source: sourceOf(fields['source']),
    target,
    kind: kindOf(fields['kind']),
    ...(Object.hasOwn(fields, 'file') ? { file: startFile(fields['file']) } : {}),
    ...flags(fields),
    ...platformsOf(fields['platforms']),
  };
}

/** @returns `<login>:<tag>`, a tag that is not named being `latest` */
function targetOf(target: unknown, login: string): string {
  const [owner, ...rest] = typeof target === 'string' ? target.split(':') : [];
  if (owner !== login) throw wrong('Invalid target for the build.', 'target');
  const tag = rest.length === 0 ? 'latest' : rest.join(':');
  if (!isTag(tag)) {
    throw wrong(
      `Invalid target for the build. After "${login}:" must come a tag: 1 to 128 letters, digits, "_", "." and "-", no "." or "-" in front.`,
      'target',
    );
  }
  return `${login}:${tag}`;
}

export function isTag(text: string): boolean {
  return tagForm.test(text);
}

/** Whether it parses as a reference, and may be used, is for the builder to say. */
function sourceOf(source: unknown): string {
  if (typeof source === 'string' && source.length <= maxSource && /^[!-~]+$/.test(source)) return source;
  throw wrong(
    `Invalid source for the build: it must be the name of an image, without spaces, of at most ${maxSource} characters.`,
    'source',
  );
}

function kindOf(kind: unknown): string {
  if (typeof kind === 'string' && isBuildKind(kind)) return kind;
  throw wrong(`Invalid kind for the build: it must be one of ${buildKinds.join(', ')}.`, 'kind');
}

/** Sluice's additions to the body. */
function flags(body: Body): Pick<BuildRequest, 'force' | 'sbom' | 'provenance'> {
  const given = ['force', 'sbom', 'provenance'].flatMap((name) => {
    const value = body[name];
    if (value === undefined || value === null) return [];
    if (typeof value !== 'boolean') throw wrong(`${name} must be true or false.`, name);
    return [[name, value] as const];
  });
  return Object.fromEntries(given);
}

function platformsOf(platforms: unknown): Pick<BuildRequest, 'platforms'> {
  if (platforms === undefined || platforms === null) return {};
  const isList =
    Array.isArray(platforms) &&
    platforms.length <= maxPlatforms &&
    platforms.every((item): item is string => typeof item === 'string' && platformForm.test(item));
  if (isList) return { platforms };
  throw wrong(
    `platforms must be a list of at most ${maxPlatforms} platforms such as "linux/amd64".`,
    'platforms',
  );
}

function startFile(file: unknown): string {
  const faults: FileFaults = {
    encoded: () => tooLarge('Requirements file too large (max 10MB base64-encoded)'),
    base64: () => wrong('Requirements file must be valid base64-encoded data', 'file'),
    utf8: () => wrong('Requirements file must be valid UTF-8 text', 'file'),
  };
  const { text } = decodeFile(file, startEncoded, faults);
  if (charactersOf(text) > startDecoded) throw tooLarge('Decoded requirements file too large (max 5MB)');
  return text;
}

interface FileFaults {
  readonly encoded: () => AppError;
  readonly base64: () => AppError;
  readonly utf8: () => AppError;
}

function decodeFile(
  file: unknown,
  limit: number,
  faults: FileFaults,
): { readonly text: string; readonly bytes: number } {
  if (typeof file !== 'string') throw faults.base64();
  if (file.length > limit) throw faults.encoded();
  // Programs that encode break lines.
  const encoded = file.replaceAll(/[\r\n\t ]/g, '');
  if (encoded.length % 4 !== 0 || !base64Form.test(encoded)) throw faults.base64();
  const bytes = Buffer.from(encoded, 'base64');
  try {
    return { text: utf8.decode(bytes), bytes: bytes.byteLength };
  } catch {
    throw faults.utf8();
  }
}

/** As Python counts: code points. */
function charactersOf(text: string): number {
  if (text.length <= startDecoded) return text.length;
  return text.length - (text.match(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g)?.length ?? 0);
}

/**
 * Milliseconds of `/build/cleanup`'s `max_age_hours`, which is read as Python's `int()` does.
 * @throws AppError `invalid_input`
 */
export function readCleanup(body: unknown): number {
  if (!isObject(body)) throw wrong('No JSON payload provided for cleanup.', 'body');
  const hours = Object.hasOwn(body, 'max_age_hours') ? hoursOf(body['max_age_hours']) : defaultMaxAgeHours;
  if (hours === undefined)
    throw wrong(
      'Invalid max_age_hours for cleanup: it must be a whole number of hours, such as 24.',
      'max_age_hours',
    );
  const limit = Number.MAX_SAFE_INTEGER;
  return Math.min(Math.max(hours * hourMs, -limit), limit);
}

function hoursOf(value: unknown): number | undefined {
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value === 'number') return Math.trunc(value);
  if (typeof value !== 'string') return undefined;
  const digits = value.trim();
  return /^[+-]?\d+(?:_\d+)*$/.test(digits) ? Number(digits.replaceAll('_', '')) : undefined;
}

export interface EnsureRequest {
  readonly builder: string;
  readonly file: string;
  readonly retry: boolean;
}

/**
 * A request of `/build/ensure`.
 * @throws AppError `invalid_input`
 */
export function readEnsure(body: unknown, builders: readonly { readonly id: string }[]): EnsureRequest {
  if (!isObject(body)) throw wrong('No JSON payload provided', 'body');
  const { builder = '', file = '', retry = true } = body;
  if (typeof builder !== 'string' || !builders.some(({ id }) => id === builder)) {
    const name = typeof builder === 'string' ? builder.slice(0, maxBuilder) : '';
    throw wrong(`Unknown builder: ${name}`, 'builder');
  }
  if (typeof retry !== 'boolean') throw wrong('retry must be true or false.', 'retry');
  return { builder, file: ensureFile(file), retry };
}

function ensureFile(file: unknown): string {
  if (typeof file !== 'string' || file === '')
    throw wrong('Build file must be a non-empty base64 string', 'file');
  const undecodable = (): AppError => wrong('Build file must be valid base64-encoded UTF-8 text', 'file');
  const { text, bytes } = decodeFile(file, ensureEncoded, {
    encoded: () => wrong('Build file is too large', 'file'),
    base64: undecodable,
    utf8: undecodable,
  });
  if (bytes > ensureDecoded) throw wrong('Decoded build file is too large', 'file');
  return text;
}

function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(message: string, field: string): AppError {
  return new AppError('invalid_input', message, { field });
}

function tooLarge(message: string): AppError {
  return new AppError('too_large', message, { field: 'file' });
}
