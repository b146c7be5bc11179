import { createCipheriv, createDecipheriv, createHash, createSecretKey, type KeyObject } from 'node:crypto';
import type { Variable } from '../config/index.ts';
import { AppError } from '../errors/index.ts';

/** A key that wraps the keys of records. */
export interface MasterKey {
  /** Stored with each record, so that it tells which key it wants. */
  readonly id: string;
  readonly key: KeyObject;
}

/**
 * Encrypts small texts for the disk: each with a random key of its own (AES-256-GCM), and that key with a master key. A
 * record opens for the same `about` only, so that it can't be put in another one's place.
 */
export interface SecretBox {
  /** Id of the key that `seal` uses. */
  readonly keyId: string;
  seal(text: string, about: string): string;
  /**
   * @throws AppError `unavailable` when its master key is not there or another one bears its id (the operator can mend
   *   that), `unprocessable` when the record was changed
   */
  open(sealed: string, about: string): string;
}

export interface SecretBoxOptions {
  /** The first one encrypts; all of them decrypt. At least one. */
  readonly keys: readonly [MasterKey, ...MasterKey[]];
  /** Random bytes (`randomBytes` of `node:crypto`). */
  readonly random: (size: number) => Uint8Array;
}

const keyBytes = 32;
const maxKeys = 16;
const ivBytes = 12;
const tagBytes = 16;
const format = 'sluice1';
const sealedForm = /^sluice1\.([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;
const keyForm = 'id:key, the key being 32 bytes in base64 ("openssl rand -base64 32"); several with commas';

export function createSecretBox({ keys, random }: SecretBoxOptions): SecretBox {
  const [first] = keys;
  const byId = new Map(keys.map(({ id, key }) => [id, key]));
  return {
    keyId: first.id,
    seal: (text, about) => {
      const own = createSecretKey(random(keyBytes));
      const wrapped = encrypt(first.key, own.export(), keyContext(first.id, about), random(ivBytes));
      const data = encrypt(own, Buffer.from(text, 'utf8'), dataContext(about), random(ivBytes));
      return [format, first.id, wrapped.toString('base64url'), data.toString('base64url')].join('.');
    },
    open: (sealed, about) => {
      const [, id = '', wrapped = '', data = ''] = sealedForm.exec(sealed) ?? [];
      const master = byId.get(id);
      if (id === '') throw changed();
      if (master === undefined) throw unknownKey(id, [...byId.keys()]);
      const own = decrypt(master, wrapped, keyContext(id, about));
      if (own?.length !== keyBytes) throw wrongKey(id);
      const text = decrypt(createSecretKey(own), data, dataContext(about));
      if (text === undefined) throw changed();
      return text.toString('utf8');
    },
  };
}

/** Id of the master key that a record wants; undefined for what is no record of a box. */
export function sealedWith(sealed: string): string | undefined {
  return sealedForm.exec(sealed)?.[1];
}

/** The key under a name that is made from it: another key in the same file is told apart. */
export function masterKeyOf(bytes: Uint8Array): MasterKey {
  if (bytes.length !== keyBytes) throw new Error(`a key for secrets has ${keyBytes} bytes`);
  const id = createHash('sha256').update('sluice secrets key id\n').update(bytes).digest('hex').slice(0, 12);
  return { id, key: createSecretKey(bytes) };
}

/**
 * Keys as variables give them: `id:base64`, with commas between several.
 * @throws Error that says which one is wrong and how, without a character of any key
 */
export function parseSecretKeys(text: string): readonly [MasterKey, ...MasterKey[]] {
  const keys = text.split(',').map((part, index) => parseKey(part.trim(), index + 1));
  const [first, ...others] = keys;
  if (first === undefined || keys.length > maxKeys) throw new Error(`takes 1 to ${maxKeys} keys`);
  for (const [index, { id }] of keys.entries()) {
    if (keys.findIndex((one) => one.id === id) !== index)
      throw new Error(`has two keys with the id "${id}"; a new key needs a new id`);
  }
  return [first, ...others];
}

/** A variable that holds such keys. */
export function secretKeys<T extends undefined = never>(spec: {
  readonly why: string;
  readonly fallback?: T;
}): Variable<readonly [MasterKey, ...MasterKey[]] | T> {
  return {
    why: spec.why,
    form: keyForm,
    fallback: 'fallback' in spec ? { value: spec.fallback } : undefined,
    parse: parseSecretKeys,
  };
}

function parseKey(text: string, place: number): MasterKey {
  const colon = text.indexOf(':');
  const id = text.slice(0, Math.max(colon, 0));
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) {
    throw new Error(
      `key ${place} does not begin with an id (letters, digits, - and _, at most 64) and a colon; give ${keyForm}`,
    );
  }
  const base64 = text.slice(colon + 1);
  const bytes = Buffer.from(base64, 'base64');
  // Node skips what is no base64: only what comes out the same again was one.
  const canonical =
    bytes.toString('base64url') === base64.replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_');
  if (!canonical) throw new Error(`the key "${id}" is not base64; give ${keyForm}`);
  if (bytes.length !== keyBytes)
    throw new Error(`the key "${id}" has ${bytes.length} bytes instead of ${keyBytes}; give ${keyForm}`);
  return { id, key: createSecretKey(bytes) };
}

function keyContext(id: string, about: string): Buffer {
  return Buffer.from(JSON.stringify([format, 'key', id, about]), 'utf8');
}

function dataContext(about: string): Buffer {
  return Buffer.from(JSON.stringify([format, 'data', about]), 'utf8');
}

/** Initial vector, ciphertext and tag in one. */
function encrypt(key: KeyObject, plain: Uint8Array, context: Buffer, iv: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes });
  cipher.setAAD(context);
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Undefined where key, context or data are not those of the encryption. */
function decrypt(key: KeyObject, text: string, context: Buffer): Buffer | undefined {
  const sealed = Buffer.from(text, 'base64url');
  // A text that only decodes to the same bytes is not the one that was written.
  if (sealed.length < ivBytes + tagBytes || sealed.toString('base64url') !== text) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, ivBytes), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(context);
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(ivBytes, -tagBytes)), decipher.final()]);
  } catch {
    return undefined;
  }
}

function unknownKey(id: string, known: readonly string[]): AppError {
  return new AppError(
    'unavailable',
    `The secrets were encrypted with the key "${id}", which is not among those given (${known.join(', ')}); add it after the first one.`,
    { details: { keyId: id } },
  );
}

function wrongKey(id: string): AppError {
  return new AppError(
    'unavailable',
    `The secrets cannot be opened with the key "${id}": it is not the one that they were encrypted with, or the record was changed or belongs elsewhere.`,
    { details: { keyId: id } },
  );
}

function changed(): AppError {
  return new AppError(
    'unprocessable',
    'The encrypted secrets were changed or are damaged; apply the service again.',
  );
}
