/** True for what JSON calls an object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The bytes as text, a byte order mark included; undefined where they are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** What a JSON text says; undefined where it is not JSON (JSON has no `undefined`). */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Undefined where the value is nested too deeply to be written (`JSON.parse` reads deeper than `JSON.stringify` writes). */
export function stringifyJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

const notBase64 = /[^A-Za-z0-9+/]/;

/**
 * Strict base64 (RFC 4648 §4, padding required), line breaks and spaces allowed; undefined where the text is something
 * else. Looks for what is wrong: a pattern for the whole text overflows the stack from some megabytes on.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  const packed = text.replaceAll(/[ \t\r\n]+/g, '');
  if (packed.length % 4 !== 0) return undefined;
  const padding = packed.endsWith('==') ? 2 : packed.endsWith('=') ? 1 : 0;
  if (notBase64.test(packed.slice(0, packed.length - padding))) return undefined;
  return Buffer.from(packed, 'base64');
}

/**
 * An object's key as S3 events write it: `+` is a space, the rest is percent-encoded. Decoded once; what is not a valid
 * escape stays as it is, bytes that are not UTF-8 become U+FFFD (as Python's `unquote_plus`, OSCAR §7.3).
 */
export function decodeObjectKey(encoded: string): string {
  const spaced = encoded.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced.replaceAll(/(?:%[0-9A-Fa-f]{2})+/g, (run) =>
      Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'),
    );
  }
}

/** A name or a reason on one line of a log: control characters are written as escapes. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u2028\u2029]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
