import http from 'node:http';
import https from 'node:https';
import { getCACertificates } from 'node:tls';
import type { Client } from 'minio';
import type { Secret } from '../config/index.ts';

/** How an S3 server is reached. */
export interface S3Connection {
  /** `http://host:port` or `https://host[:port]`, without a path. */
  readonly endpoint: URL;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: Secret;
  /** Of keys that end by themselves. */
  readonly sessionToken?: Secret | undefined;
  /** Whether the server's certificate is checked. */
  readonly verify: boolean;
  /** Certificates (PEM) that are trusted beside the system's. */
  readonly ca?: string | undefined;
  /** Milliseconds without a byte in either direction after which a request is given up. @default 30000 */
  readonly silenceMs?: number;
}

/** The requests that reading, listing and writing objects take. */
export type S3Requests = Pick<
  Client,
  | 'abortMultipartUpload'
  | 'bucketExists'
  | 'initiateNewMultipartUpload'
  | 'makeRequestAsync'
  | 'makeRequestStreamAsync'
>;

/** An S3 server, for what works on objects: the package's client, or the lean one of a pod. */
export interface S3Access {
  readonly client: S3Requests;
  readonly region: string;
  /** Told of bytes of bodies that came or went, piece by piece. */
  readonly onBytes?: ((count: number) => void) | undefined;
  /** Larger bodies go in parts, each streamed. @default 4 GiB; S3 takes 5 GiB in one piece */
  readonly onePieceBytes?: number | undefined;
}

export interface S3Client extends S3Access {
  readonly client: Client;
  /** Cuts every connection; what is asked afterwards fails. */
  close(): void;
}

/** Requests that may be under way at the same time; further ones wait. */
const maxSockets = 128;

/**
 * Makes clients of S3 servers. They repeat nothing by themselves (the package prints its repetitions on the terminal) and give up requests
 * on which nothing moves. The package is loaded only where it is used.
 */
export async function loadS3Clients(): Promise<(connection: S3Connection) => S3Client> {
  const { Client } = await import('minio');
  return (connection) => createS3Client(Client, connection);
}

function createS3Client(S3: typeof Client, connection: S3Connection): S3Client {
  const { endpoint, region } = connection;
  const secure = endpoint.protocol === 'https:';
  const common = { keepAlive: true, maxSockets };
  const agent = secure
    ? new https.Agent({
        ...common,
        rejectUnauthorized: connection.verify,
        // Given alone, it would be trusted instead of the system's.
        ...(connection.ca === undefined ? {} : { ca: [...getCACertificates('default'), connection.ca] }),
      })
    : new http.Agent(common);
  const closing = new AbortController();
  const client = new S3({
    endPoint: endpoint.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(endpoint.port) || (secure ? 443 : 80),
    useSSL: secure,
    accessKey: connection.accessKey,
    secretKey: connection.secretKey.reveal(),
    ...(connection.sessionToken === undefined ? {} : { sessionToken: connection.sessionToken.reveal() }),
    region,
    pathStyle: true,
    transport: transportOf({ secure, silenceMs: connection.silenceMs ?? 30_000, closed: closing.signal }),
    transportAgent: agent,
    retryOptions: { disableRetry: true },
  });
  // Else every body sent over plain HTTP would have to be read twice, the first time to hash it for the signature.
  client.enableSHA256 = false;
  return {
    client,
    region,
    close: () => {
      closing.abort();
      agent.destroy();
    },
  };
}

type Transport = NonNullable<ConstructorParameters<typeof Client>[0]['transport']>;

/** Answers of which the package keeps neither code nor body, and whose connection it never gives back. */
const unreadStatuses: ReadonlySet<number> = new Set([408, 429, 499, 500, 502, 503, 504, 520]);
/** Of a server's error answer. */
const maxErrorBytes = 65_536;

interface TransportSettings {
  readonly secure: boolean;
  readonly silenceMs: number;
  readonly closed: AbortSignal;
}

function transportOf({ secure, silenceMs, closed }: TransportSettings): Transport {
  const request = (options: https.RequestOptions, answered: (answer: http.IncomingMessage) => void) => {
    const take = (answer: http.IncomingMessage): void => {
      if (!unreadStatuses.has(answer.statusCode ?? 0)) {
        answered(answer);
        return;
      }
      serverError(answer).then(
        (error) => made.emit('error', error),
        (error: unknown) => made.emit('error', error),
      );
    };
    const made = secure ? https.request(options, take) : http.request(options, take);
    made.setTimeout(silenceMs, () => {
      made.destroy(Object.assign(new Error(`nothing came for ${silenceMs} ms`), { code: 'ETIMEDOUT' }));
    });
    if (closed.aborted) made.destroy(Object.assign(new Error('the client is closed'), { code: 'ECANCELED' }));
    return made;
  };
  // The package calls the one of `request`'s forms that this is; its type wants them all.
  return { request } as unknown as Transport;
}

/** What the package makes of other answers: an error with the server's code. Reads the answer, so that its connection can be used again. */
async function serverError(answer: http.IncomingMessage): Promise<Error> {
  let text = '';
  for await (const chunk of answer) {
    text += String(chunk);
    if (text.length > maxErrorBytes) break;
  }
  const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? `HTTP ${answer.statusCode}`;
  const amzRequestid = answer.headers['x-amz-request-id'] ?? '';
  return Object.assign(new Error(`the S3 server answered ${answer.statusCode}`), { code, amzRequestid });
}
