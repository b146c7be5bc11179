import { getCACertificates } from 'node:tls';
import type * as undiciTypes from 'undici';
import { AppError, isAppError, messageOf, systemCode } from '../errors/index.ts';
import { isLinkLocal, isPrivateHost, mayBePlain } from './registry-hosts.ts';

export interface RegistryRequest {
  readonly method: 'GET' | 'HEAD' | 'DELETE' | 'POST' | 'PUT';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Bytes of the answer that are read. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export interface RegistryAnswer {
  readonly status: number;
  header(name: string): string | undefined;
  /** Empty where the status is no success: what a stranger's server writes there is told to nobody. */
  readonly body: Buffer;
}

export interface RegistryTransport {
  /** Asks a registry by host and path; https, or http where that is allowed and all the host speaks. Follows redirects of reads. */
  ask(host: string, path: string, request: RegistryRequest): Promise<RegistryAnswer>;
  /** Asks an address that a registry named, for a token. Follows nothing. */
  askUrl(registry: string, url: string, request: RegistryRequest): Promise<RegistryAnswer>;
  close(): Promise<void>;
}

export interface RegistryTransportOptions {
  readonly insecure: readonly string[];
  /** Certificates (PEM) that are trusted beside the system's. */
  readonly ca?: string | undefined;
}

const maxRedirects = 3;
/** What speaks plain HTTP answers a TLS greeting with one of these. */
const notTls: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
  'EPROTO',
]);
/** Hosts whose scheme is kept in mind. */
const maxSchemes = 1000;

/** HTTP to registries. The package is loaded with the first request. */
export function createRegistryTransport(options: RegistryTransportOptions): RegistryTransport {
  let loading: ReturnType<typeof loadUndici> | undefined;
  const plain = new Set<string>();
  const send = async (url: URL, request: RegistryRequest): Promise<RegistryAnswer> => {
    loading ??= loadUndici(options.ca);
    const { undici, agent } = await loading;
    return sendOne(undici, agent, url, request);
  };
  const begin = async (
    host: string,
    path: string,
    request: RegistryRequest,
  ): Promise<[URL, RegistryAnswer]> => {
    const secure = new URL(`https://${host}${path}`);
    const open = new URL(`http://${host}${path}`);
    const allowed = mayBePlain(host, options.insecure);
    if (allowed && plain.has(host)) return [open, await send(open, request)];
    try {
      return [secure, await send(secure, request)];
    } catch (error) {
      if (!allowed || !speaksNoTls(error, secure)) throw error;
      const answer = await send(open, request);
      if (plain.size >= maxSchemes) plain.clear();
      plain.add(host);
      return [open, answer];
    }
  };
  return {
    ask: async (host, path, request) => {
      let [url, answer] = await translated(host, () => begin(host, path, request));
      let { headers } = request;
      for (let count = 0; isRedirect(answer.status) && isRead(request.method); count += 1) {
        if (count >= maxRedirects)
          throw new AppError('unavailable', `The registry ${host} redirects in circles.`);
        const next = addressFrom(options.insecure, host, url, answer.header('location'));
        // A blob store takes the signature in its address; the registry's token is none of its business.
        if (next.origin !== url.origin) headers = withoutAuthorization(headers);
        url = next;
        const again = { ...request, headers };
        answer = await translated(host, () => send(next, again));
      }
      return answer;
    },
    askUrl: async (registry, text, request) => {
      const from = new URL(`${plain.has(registry) ? 'http' : 'https'}://${registry}`);
      const url = addressFrom(options.insecure, registry, from, text);
      return translated(url.host, () => send(url, request));
    },
    close: async () => {
      const loaded = await loading;
      await loaded?.agent.destroy();
    },
  };
}

/** An address that a registry sent us to: never from outside into a private network, never from TLS to none. */
function addressFrom(
  insecure: readonly string[],
  registry: string,
  from: URL,
  location: string | undefined,
): URL {
  const refuse = (why: string): AppError =>
    new AppError('unavailable', `The registry ${registry} names an address that ${why}.`);
  if (!URL.canParse(location ?? '', from.href)) throw refuse('is none');
  const url = new URL(location ?? '', from);
  const isHttp = url.protocol === 'http:' && from.protocol === 'http:' && mayBePlain(url.host, insecure);
  if (url.protocol !== 'https:' && !isHttp) throw refuse('is without TLS');
  const isOutside = !mayBePlain(registry, insecure);
  if (isLinkLocal(url.host) || (isOutside && isPrivateHost(url.host))) {
    throw refuse('is of a private network');
  }
  url.username = '';
  url.password = '';
  return url;
}

type Undici = typeof undiciTypes;

async function loadUndici(ca: string | undefined): Promise<{ undici: Undici; agent: undiciTypes.Agent }> {
  const undici = await import('undici');
  const agent = new undici.Agent({
    connections: 16,
    connect: {
      timeout: 10_000,
      // Given alone, it would be trusted instead of the system's.
      ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] }),
    },
    keepAliveTimeout: 10_000,
  });
  return { undici, agent };
}

async function sendOne(
  undici: Undici,
  agent: undiciTypes.Agent,
  url: URL,
  request: RegistryRequest,
): Promise<RegistryAnswer> {
  const { method, headers, maxBytes, signal } = request;
  const answer = await undici.request(url, {
    method,
    headers: { 'user-agent': 'sluice', ...headers },
    signal,
    dispatcher: agent,
    ...(request.body === undefined ? {} : { body: request.body }),
  });
  const header = (name: string): string | undefined => {
    const value = answer.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  };
  const chunks: Buffer[] = [];
  if (answer.statusCode >= 300) {
    // Read to its end where that is near, so that the connection can be used again.
    await answer.body.dump({ limit: 65_536, signal }).catch(() => undefined);
  } else {
    let size = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) {
        throw new AppError('too_large', `${url.host} answers with more than ${maxBytes} bytes.`);
      }
      chunks.push(chunk);
    }
  }
  return { status: answer.statusCode, header, body: Buffer.concat(chunks) };
}

/** Failures of the network as what they are to the caller. */
async function translated<T>(host: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isAppError(error)) throw error;
    const name = error instanceof Error ? error.name : '';
    const late = name === 'TimeoutError' || /TIMEOUT|TIMEDOUT/.test(systemCode(error) ?? '');
    const why = late
      ? 'does not answer in time'
      : `cannot be reached (${systemCode(error) ?? messageOf(error)})`;
    throw new AppError('unavailable', `The registry ${host} ${why}.`, { cause: error });
  }
}

function speaksNoTls(error: unknown, url: URL): boolean {
  const code = systemCode(error) ?? '';
  // Without a port the two are at different doors.
  return notTls.has(code) || (url.port === '' && code === 'ECONNREFUSED');
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

function isRead(method: RegistryRequest['method']): boolean {
  return method === 'GET' || method === 'HEAD';
}

function withoutAuthorization(headers: RegistryRequest['headers']): RegistryRequest['headers'] {
  const { authorization, ...rest } = headers;
  void authorization;
  return rest;
}
