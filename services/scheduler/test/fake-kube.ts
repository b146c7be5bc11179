import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  createKubeConnection,
  type KubeConnection,
  type KubeConnectionOptions,
} from '@sluice/scheduler/adapters';
import { systemClock } from '@sluice/shared/lifecycle';

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
}

type Answer = (request: FakeRequest, response: ServerResponse) => void;

/** An API server for faults that the real one cannot be made to show: each request is answered as the test says. */
export interface FakeKube {
  readonly url: URL;
  readonly requests: FakeRequest[];
  answer: Answer;
  close(): Promise<void>;
}

export async function startFakeKube(answer: Answer): Promise<FakeKube> {
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const url = new URL(incoming.url ?? '/', 'http://fake');
      const request = {
        method: incoming.method ?? '',
        path: url.pathname,
        query: url.searchParams,
        body: Buffer.concat(chunks).toString(),
        headers: incoming.headers,
      };
      fake.requests.push(request);
      fake.answer(request, response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const fake: FakeKube = {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    requests: [],
    answer,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return fake;
}

export function json(response: ServerResponse, status: number, body: object, headers: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

/** A Status object, as the API server answers failures. */
export function status(response: ServerResponse, code: number, message: string, headers: object = {}): void {
  json(response, code, { kind: 'Status', code, message }, headers);
}

export function connectTo(
  fake: FakeKube,
  more: Partial<KubeConnectionOptions> = {},
): Promise<KubeConnection> {
  return createKubeConnection({
    target: {
      server: fake.url,
      namespace: undefined,
      tls: {},
      headers: () => Promise.resolve({ authorization: 'Bearer of-a-pod' }),
    },
    namespace: 'jobs',
    clock: systemClock,
    random: () => 0,
    timeoutMs: 300,
    ...more,
  });
}
