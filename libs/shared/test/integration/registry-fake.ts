import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface FakeRegistry {
  /** `127.0.0.1:port` */
  readonly host: string;
  /** Method, path and Authorization of what was asked, in order. */
  readonly asked: { readonly method: string; readonly url: string; readonly authorization?: string }[];
  /** Answers every request. */
  answer: Answer;
  close(): Promise<void>;
}

/** A server for what the real registry can't be made to show. */
export async function openFakeRegistry(tls?: {
  readonly key: string;
  readonly cert: string;
}): Promise<FakeRegistry> {
  const asked: FakeRegistry['asked'] = [];
  const serve: Answer = (request, response) => {
    const { authorization } = request.headers;
    const { method = '', url = '' } = request;
    asked.push({ method, url, ...(authorization === undefined ? {} : { authorization }) });
    fake.answer(request, response);
  };
  const server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  const listening = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', listening.resolve);
  await listening.promise;
  const fake: FakeRegistry = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    answer: (_request, response) => send(response, 404),
    close: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
  return fake;
}

export function send(
  response: ServerResponse,
  status: number,
  body: string | object = '',
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, headers);
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

const config = JSON.stringify({ os: 'linux', architecture: 'amd64', config: { User: 'app' } });
export const configDigest = digestOf(config);
export const manifest = JSON.stringify({ schemaVersion: 2, config: { digest: configDigest } });

export function digestOf(body: string): string {
  return `sha256:${createHash('sha256').update(body).digest('hex')}`;
}

/** A registry with one image, under every name. */
export const sendImage: Answer = (request, response) => {
  if (request.url?.includes('/manifests/')) return send(response, 200, manifest);
  if (request.url?.endsWith(`/blobs/${configDigest}`)) return send(response, 200, config);
  send(response, 404);
};
