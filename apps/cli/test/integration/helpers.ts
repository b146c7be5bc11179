import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../../bin/sluice.mjs', import.meta.url));

/** Compiled code, kept between tests: a folder that is ignored anyway. */
const cache = fileURLToPath(new URL('../../../../node_modules/.cache/sluice-cli-test', import.meta.url));

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** Answers a request whose body has been read. */
export type Answer = (request: Seen, response: ServerResponse) => void | Promise<void>;

export interface FakeServer {
  readonly url: string;
  readonly seen: Seen[];
  /** `METHOD path` of each request so far. */
  calls(): string[];
  close(): Promise<void>;
}

/** A server on a free port, for the faults that the real one can't be made to show. */
export async function startServer(answer: Answer): Promise<FakeServer> {
  const seen: Seen[] = [];
  return await listen(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const one = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks),
    };
    seen.push(one);
    await answer(one, response);
  }, seen);
}

/** The same, before the body is read. */
export async function listen(
  handle: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>,
  seen: Seen[] = [],
): Promise<FakeServer> {
  const server: Server = createServer((request, response) => {
    // A connection that the client has given up ends the handler's reading with an error.
    Promise.resolve(handle(request, response)).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    seen,
    calls: () => seen.map(({ method, url }) => `${method} ${url}`),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export function json(
  response: ServerResponse,
  body: unknown,
  status = 200,
  headers: Record<string, string | string[]> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

export function text(
  response: ServerResponse,
  body: string,
  status = 200,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(body);
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout(): string;
  stderr(): string;
}

export interface RunOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly stdin?: string | Buffer;
  readonly nodeArgs?: readonly string[];
}

/** Starts `sluice` with an environment of its own: no server and no credentials but those given. */
export function start(args: readonly string[], options: RunOptions = {}): Running {
  const child = spawn(process.execPath, [...(options.nodeArgs ?? []), bin, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: {
      PATH: process.env['PATH'] ?? '',
      SLUICE_DATA: '/nonexistent',
      XDG_CACHE_HOME: cache,
      ...options.env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  // The program may end without reading it.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.stdin ?? '');
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }));
  return { child, ended, stdout: () => stdout, stderr: () => stderr };
}

export async function sluice(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return await start(args, options).ended;
}

/** Waits until something holds. */
export async function until(holds: () => boolean, what: string, ms = 10_000): Promise<void> {
  const end = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A folder that is gone after the test. */
export function temporary(): { readonly path: string; remove(): void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-cli-'));
  return {
    path: folder,
    remove: () => {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A run as the server writes it. */
export function run(over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: 'demo-1',
    service: 'demo',
    state: 'succeeded',
    attempt: 1,
    created_at: '2026-01-02T03:04:05.678Z',
    trace_id: 'abc',
    hop: 0,
    timeline: [{ at: '2026-01-02T03:04:05.678Z', state: 'queued', attempt: 1, message: 'accepted' }],
    ...over,
  };
}

/** A bucket `b`; `answer` may take a request over by returning true. */
export async function startBucket(
  objects: Record<string, string> = {},
  takeOver: (...args: Parameters<Answer>) => boolean = () => false,
): Promise<FakeServer> {
  const prefix = '/system/buckets/b/objects';
  return await startServer((request, response) => {
    if (takeOver(request, response)) return;
    const url = new URL(request.url, 'http://x');
    if (url.pathname === '/system/services')
      json(response, [{ name: 'demo', input: [{ storage_provider: 'minio.default', path: 'b/in' }] }]);
    else if (url.pathname === prefix) {
      const begin = url.searchParams.get('prefix') ?? '';
      const keys = Object.keys(objects).filter((key) => key.startsWith(begin));
      json(response, { objects: keys.map((key) => ({ key, size: objects[key]?.length ?? 0 })) });
    } else {
      const key = decodeURIComponent(url.pathname.slice(prefix.length + 1));
      const known = objects[key];
      if (request.method === 'PUT') response.writeHead(201, { etag: '"e"' }).end();
      else if (known === undefined) text(response, 'no such object', 404);
      else if (request.method === 'DELETE') response.writeHead(204).end();
      else text(response, known, 200, { 'content-length': String(known.length) });
    }
  });
}
