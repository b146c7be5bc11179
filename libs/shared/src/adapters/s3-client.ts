import http from 'node:http';
import https from 'node:https';
import { Client } from 'minio';
import type { Secret } from '../config/index.ts';

/** How an S3 server is reached. */
export interface S3Connection {
  /** `http://host:port` or `https://host[:port]`, without a path. */
  readonly endpoint: URL;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: Secret;
  /** Whether the server's certificate is checked. */
  readonly verify: boolean;
  /** Certificates (PEM) that are trusted beside the system's. */
  readonly ca?: string | undefined;
  /** Milliseconds without a byte in either direction after which a request is given up. @default 30000 */
  readonly silenceMs?: number;
}

export interface S3Client {
  readonly client: Client;
  readonly region: string;
  /** Lets the connections go. */
  close(): void;
}

/** Requests that may be under way at the same time; further ones wait. */
const maxSockets = 128;

/**
 * A client of an S3 server. It repeats nothing by itself (the package prints its repetitions on the terminal) and gives up requests
 * on which nothing moves.
 */
export function createS3Client(connection: S3Connection): S3Client {
  const { endpoint, region } = connection;
  const secure = endpoint.protocol === 'https:';
  const common = { keepAlive: true, maxSockets };
  const agent = secure
    ? new https.Agent({
        ...common,
        rejectUnauthorized: connection.verify,
        ...(connection.ca === undefined ? {} : { ca: connection.ca }),
      })
    : new http.Agent(common);
  const client = new Client({
    endPoint: endpoint.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(endpoint.port) || (secure ? 443 : 80),
    useSSL: secure,
    accessKey: connection.accessKey,
    secretKey: connection.secretKey.reveal(),
    region,
    pathStyle: true,
    transport: transportOf(secure, connection.silenceMs ?? 30_000),
    transportAgent: agent,
    retryOptions: { disableRetry: true },
  });
  // Else every body sent over plain HTTP would have to be read twice, the first time to hash it for the signature.
  client.enableSHA256 = false;
  return {
    client,
    region,
    close: () => {
      agent.destroy();
    },
  };
}

type Transport = NonNullable<ConstructorParameters<typeof Client>[0]['transport']>;

function transportOf(secure: boolean, silenceMs: number): Transport {
  const request = (options: https.RequestOptions, answered: (answer: http.IncomingMessage) => void) => {
    const made = secure ? https.request(options, answered) : http.request(options, answered);
    made.setTimeout(silenceMs, () => {
      made.destroy(Object.assign(new Error(`nothing came for ${silenceMs} ms`), { code: 'ETIMEDOUT' }));
    });
    return made;
  };
  return { request } as unknown as Transport;
}
