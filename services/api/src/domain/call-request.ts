import { AppError } from '@sluice/shared/errors';

/** More are refused: each becomes a variable of the script. */
const maxHeaders = 100;
const maxHeaderBytes = 16_384;

/**
 * Not for the script: what proves who calls, what belongs to the connection (RFC 9110 §7.6.1), and `Proxy`, which programs
 * take for a setting of their own when it is a variable (httpoxy).
 */
const dropped: ReadonlySet<string> = new Set([
  'authorization',
  'cookie',
  'connection',
  'expect',
  'keep-alive',
  'proxy',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * The headers of a caller's request that the script sees.
 * @throws AppError `invalid_input` past 100 headers or 16 KiB
 */
export function scriptHeaders(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Record<string, string> {
  const named = new Set(
    String(headers['connection'] ?? '')
      .split(',')
      .map((name) => name.trim().toLowerCase()),
  );
  const kept: [string, string][] = [];
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || dropped.has(name) || named.has(name) || name.startsWith('x-sluice-')) continue;
    const text = typeof value === 'string' ? value : value.join(', ');
    bytes += name.length + text.length;
    kept.push([name, text]);
  }
  if (kept.length > maxHeaders || bytes > maxHeaderBytes) {
    throw new AppError(
      'invalid_input',
      `The request has more than ${maxHeaders} headers, or more than ${maxHeaderBytes} bytes of them. Put what is long into the body.`,
      { field: 'headers' },
    );
  }
  return Object.fromEntries(kept);
}

/** Milliseconds that the script of a call may run: the definition may ask for less than the limit of all calls. */
export function callTimeoutMs(definitionSeconds: number | undefined, limitMs: number): number {
  return definitionSeconds === undefined ? limitMs : Math.min(definitionSeconds * 1000, limitMs);
}
