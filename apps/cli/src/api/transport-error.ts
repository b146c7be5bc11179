/**
 * Why no answer came. `refused`: nobody listens there. `unknown-host`: the name has no address. `tls`: no trusted connection.
 * `broken`: the connection ended in the middle. `timeout`: silence.
 */
export type TransportKind = 'refused' | 'unknown-host' | 'tls' | 'broken' | 'timeout';

export class TransportError extends Error {
  readonly kind: TransportKind;

  constructor(kind: TransportKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TransportError';
    this.kind = kind;
  }
}

const kinds: Readonly<Record<string, TransportKind>> = {
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'refused',
  ENETUNREACH: 'refused',
  EHOSTDOWN: 'refused',
  EADDRNOTAVAIL: 'refused',
  ENOTFOUND: 'unknown-host',
  EAI_AGAIN: 'unknown-host',
  EAI_FAIL: 'unknown-host',
  ECONNRESET: 'broken',
  EPIPE: 'broken',
  ECONNABORTED: 'broken',
  ETIMEDOUT: 'timeout',
};

/** The kind of a system or TLS error code; undefined for one that is not about the connection. */
export function transportKind(code: string | undefined): TransportKind | undefined {
  if (code === undefined) return undefined;
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|EPROTO|HOSTNAME_MISMATCH)/.test(code))
    return 'tls';
  // The parser's errors: what answers does not speak HTTP.
  if (code.startsWith('HPE_')) return 'broken';
  return kinds[code];
}
