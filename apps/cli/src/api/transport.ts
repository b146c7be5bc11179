import * as http from 'node:http';
import * as https from 'node:https';
import type { Readable } from 'node:stream';
import { getCACertificates } from 'node:tls';
import { systemCode } from '../cli-error.ts';
import { TransportError, transportKind } from './transport-error.ts';

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';

/** A body that streams: opened once per attempt. */
export interface StreamBody {
  /** Bytes; undefined where it is not known (then it goes chunked). */
  readonly size: number | undefined;
  open(): Readable;
}

interface HttpRequest {
  readonly method: Method;
  /** Percent-encoded, from `/` on. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | StreamBody;
  /** A fresh connection: one that is kept alive may be closed by the server just as the request goes out, and this one can't be repeated. */
  readonly once: boolean;
  /** In place of the transport's own limit on silence. */
  readonly idleMs?: number;
}

export interface HttpReply {
  readonly status: number;
  header(name: string): string | undefined;
  /** Each value of a header that may be there several times. */
  headers(name: string): readonly string[];
  /** To be read to its end or destroyed. */
  readonly body: http.IncomingMessage;
}

export interface Transport {
  /** @throws TransportError; the signal's reason once it is aborted */
  send(request: HttpRequest): Promise<HttpReply>;
  close(): void;
}

export interface TransportOptions {
  readonly base: URL;
  /** How long the server may be silent. */
  readonly idleMs: number;
  /** Certificate authorities (PEM) to trust beside the system's. */
  readonly ca?: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * HTTP with streams both ways. Over `node:http`, since the built-in `fetch` joins headers that are there several times into one text. Every
 * request has a limit on silence, which counts only while the other side is the one to move.
 */
export function createTransport({ base, idleMs, ca, signal }: TransportOptions): Transport {
  const library = base.protocol === 'https:' ? https : http;
  const trust = ca === undefined || library === http ? {} : { ca: [...getCACertificates('default'), ca] };
  const agent = new library.Agent({ keepAlive: true, maxSockets: 32, ...trust });
  return {
    send: (request) => {
      const wiring = { library, agent, trust, base, signal, idleMs: request.idleMs ?? idleMs };
      return send(wiring, request);
    },
    close: () => {
      agent.destroy();
    },
  };
}

interface Wiring {
  readonly library: typeof http | typeof https;
  readonly agent: http.Agent;
  readonly trust: https.RequestOptions;
  readonly base: URL;
  readonly idleMs: number;
  readonly signal: AbortSignal;
}

function send(wiring: Wiring, request: HttpRequest): Promise<HttpReply> {
  return new Promise((resolve, reject) => {
    if (wiring.signal.aborted) {
      reject(reasonOf(wiring.signal));
      return;
    }
    const outgoing = open(wiring, request);
    const source = isStream(request.body) ? request.body.open() : undefined;
    const exchange: Exchange = { outgoing, source, reply: undefined, failed: undefined };
    const fail = (error: unknown): void => {
      exchange.failed ??= wiring.signal.aborted ? reasonOf(wiring.signal) : asTransportError(error, wiring);
      source?.destroy();
      reject(exchange.failed);
    };
    const abort = (): void => {
      outgoing.destroy(asError(reasonOf(wiring.signal)));
    };
    wiring.signal.addEventListener('abort', abort, { once: true });
    outgoing.once('close', () => {
      wiring.signal.removeEventListener('abort', abort);
      source?.destroy();
    });
    outgoing.on('error', fail);
    outgoing.on('timeout', () => {
      onSilence(exchange, wiring.idleMs);
    });
    outgoing.once('response', (message) => {
      exchange.reply = message;
      if (source !== undefined && isRefusal(message) && !outgoing.writableEnded) {
        // What is left of the body is of no use any more, and a connection with half a request on it neither.
        source.destroy();
        message.once('end', () => outgoing.destroy());
      }
      resolve(replyOf(message));
    });
    sendBody(exchange, request.body, fail);
  });
}

interface Exchange {
  readonly outgoing: http.ClientRequest;
  readonly source: Readable | undefined;
  reply: http.IncomingMessage | undefined;
  failed: unknown;
}

function open(wiring: Wiring, request: HttpRequest): http.ClientRequest {
  const { base } = wiring;
  const size = isStream(request.body) ? request.body.size : request.body?.byteLength;
  const mayHaveBody = request.method === 'POST' || request.method === 'PUT';
  const length = size ?? (request.body === undefined && mayHaveBody ? 0 : undefined);
  return wiring.library.request({
    protocol: base.protocol,
    hostname: base.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: base.port === '' ? undefined : base.port,
    method: request.method,
    path: `${base.pathname === '/' ? '' : base.pathname}${request.path}`,
    headers: { ...request.headers, ...(length === undefined ? {} : { 'content-length': String(length) }) },
    // A fresh connection has an agent of its own, which knows nothing of this one's certificates.
    ...(request.once ? { agent: false, ...wiring.trust } : { agent: wiring.agent }),
    timeout: wiring.idleMs,
  });
}

function sendBody(exchange: Exchange, body: HttpRequest['body'], fail: (error: unknown) => void): void {
  const { outgoing, source } = exchange;
  if (source === undefined) {
    outgoing.end(isStream(body) ? undefined : body);
    return;
  }
  source.once('error', (error) => {
    fail(error);
    outgoing.destroy();
  });
  const size = isStream(body) ? body.size : undefined;
  let sent = 0;
  source.on('data', (chunk: Uint8Array) => {
    sent += chunk.length;
  });
  source.once('end', () => {
    // The server would wait for the rest.
    if (size !== undefined && sent < size) outgoing.destroy(new SourceChanged());
  });
  source.pipe(outgoing);
}

/** The body ended before the size that was announced. */
export class SourceChanged extends Error {
  constructor() {
    super('became shorter while it was sent');
    this.name = 'SourceChanged';
  }
}

function isRefusal(message: http.IncomingMessage): boolean {
  return (message.statusCode ?? 0) >= 300;
}

/** Nothing has moved for a while. That is the server's fault unless this side has the next step. */
function onSilence(exchange: Exchange, idleMs: number): void {
  const { outgoing, source, reply } = exchange;
  const readerIsSlow = reply !== undefined && reply.readableLength > 0;
  const sourceIsSlow =
    reply === undefined && source !== undefined && !outgoing.writableEnded && outgoing.writableLength === 0;
  if (readerIsSlow || sourceIsSlow) {
    outgoing.socket?.setTimeout(idleMs);
    return;
  }
  const error = new TransportError('timeout', `no answer for ${idleMs / 1000} s`);
  if (reply === undefined) outgoing.destroy(error);
  else reply.destroy(error);
}

function replyOf(message: http.IncomingMessage): HttpReply {
  return {
    status: message.statusCode ?? 0,
    header: (name) => {
      const value = message.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    headers: (name) => message.headersDistinct[name] ?? [],
    body: message,
  };
}

function isStream(body: HttpRequest['body']): body is StreamBody {
  return body !== undefined && 'open' in body;
}

function reasonOf(signal: AbortSignal): unknown {
  return signal.reason;
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** Errors of the body's source (a file that can't be read) stay what they are. */
function asTransportError(error: unknown, wiring: Wiring): unknown {
  if (error instanceof TransportError) return error;
  const kind = transportKind(systemCode(error));
  if (kind === undefined) return error;
  return new TransportError(kind, `${wiring.base.host}: ${asError(error).message}`, error);
}
