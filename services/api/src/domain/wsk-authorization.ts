/** Who calls, in OpenWhisk's words. */
export interface WskPair {
  readonly uuid: string;
  readonly key: string;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads an `Authorization` header of OpenServerless: `uuid:key` as it is or as base64, each alone or behind `Basic`. Both halves
 * are percent-decoded. What has exactly one colon is taken as it is: base64 has none.
 * @returns undefined for anything else
 */
export function readWskAuthorization(header: string): WskPair | undefined {
  const token = tokenOf(header.trim());
  if (token === undefined) return undefined;
  return pairOf(token.includes(':') ? token : decoded(token));
}

/** What follows `Basic`, or the whole where no scheme is named. */
function tokenOf(header: string): string | undefined {
  const [first = '', second, ...more] = header.split(/ +/);
  if (more.length > 0) return undefined;
  if (second === undefined) return first;
  return first.toLowerCase() === 'basic' ? second : undefined;
}

function decoded(token: string): string | undefined {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(token)) return undefined;
  try {
    return utf8.decode(Buffer.from(token, 'base64'));
  } catch {
    return undefined;
  }
}

function pairOf(text: string | undefined): WskPair | undefined {
  const [uuid = '', key = '', ...more] = text?.split(':') ?? [];
  if (uuid === '' || key === '' || more.length > 0) return undefined;
  return { uuid: unquote(uuid), key: unquote(key) };
}

/** As Python's `unquote`: what is no escape stays, bytes that are no UTF-8 become U+FFFD. */
function unquote(text: string): string {
  return text.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) =>
    Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'),
  );
}
