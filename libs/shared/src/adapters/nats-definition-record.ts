import { gunzipSync, gzip } from 'node:zlib';
import { promisify } from 'node:util';
import { AppError } from '../errors/index.ts';
import type { Floor, NewDefinition, StoredDefinition } from '../stores/index.ts';
import { pathOf, prefixesOf } from './definition-rules.ts';

/** A floor as it was set; raised ones are kept apart. */
export interface FirstFloor extends Floor {
  /** Version that brought the prefix: what was raised before then does not count. */
  readonly since: number;
}

/** What is stored under a service's name: all that must change in one step. */
export interface DefinitionRecord extends StoredDefinition {
  /** Last part of the key of its secrets: what writers that did not come through have left is told apart by it. */
  readonly secrets: string;
  readonly floors: readonly FirstFloor[];
}

const packed = promisify(gzip);
/** Shorter ones would hardly become smaller. */
const compressFrom = 4096;
/** Beyond what any message can hold compressed: scripts are text. */
const maxUnpacked = 64 * 1024 * 1024;
/** For the subject and the headers of a message, which count too. */
const headRoom = 4096;

/**
 * A text as it is stored: compressed where that pays, so that most definitions fit in one message.
 * @param what for the message: `The definition`
 * @throws AppError `too_large`
 */
export async function packText(text: string, what: string, maxPayload: number): Promise<Uint8Array> {
  const plain = Buffer.from(text, 'utf8');
  const bytes = plain.length < compressFrom ? plain : await packed(plain);
  const limit = maxPayload - headRoom;
  if (bytes.length <= limit) return bytes;
  throw new AppError(
    'too_large',
    `${what} has ${bytes.length} bytes compressed, and the NATS server takes ${limit}: ` +
      'put large files in a bucket or the image, or raise max_payload of the server.',
  );
}

/** JSON and other texts of ours never begin with gzip's first byte. */
export function unpackText(bytes: Uint8Array): string {
  const plain = bytes[0] === 0x1f ? gunzipSync(bytes, { maxOutputLength: maxUnpacked }) : Buffer.from(bytes);
  return plain.toString('utf8');
}

/** @throws whatever JSON and gzip say of damaged bytes */
export function decodeRecord(bytes: Uint8Array): DefinitionRecord {
  return JSON.parse(unpackText(bytes)) as DefinitionRecord;
}

export function storedOf(record: DefinitionRecord): StoredDefinition {
  const { name, uid, version, created_at, updated_at, definition } = record;
  return { name, uid, version, created_at, updated_at, definition };
}

/** The floors of a version: those of prefixes that stay as they are, new ones from `input`; those of prefixes that are input no more go. */
export function floorsOf(
  before: readonly FirstFloor[],
  input: NewDefinition,
  version: number,
): readonly FirstFloor[] {
  const kept = prefixesOf(input);
  const stay = before.filter(({ bucket, prefix }) => kept.has(pathOf(bucket, prefix)));
  const there = new Set(stay.map(({ bucket, prefix }) => pathOf(bucket, prefix)));
  const added = input.floors.filter(({ bucket, prefix }) => !there.has(pathOf(bucket, prefix)));
  return [...stay, ...added.map(({ bucket, prefix, at }) => ({ bucket, prefix, at, since: version }))];
}
