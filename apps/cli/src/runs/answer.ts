/**
 * The bytes behind the answer of a call, where it is base64; undefined where it is plain text. The wire does not tell the two apart
 * (OSCAR §7.7): one line of base64 as an encoder writes it counts as that, so a script that prints such a word (`done`) and makes no file is
 * taken for one that made a file.
 */
export function decodeAnswer(body: Buffer): Buffer | undefined {
  const text = body.toString('latin1').replace(/\r?\n$/, '');
  if (text === '' || text.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** Several files come as one archive. */
export function isZip(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
}

/** The text, undefined for bytes that are none, or that a terminal should not see. */
export function asText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // oxlint-disable-next-line no-control-regex -- control characters are what this is about
    return /[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
