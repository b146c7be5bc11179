import { createServer, Agent, request as ask } from 'node:https';
import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { run } from './server.ts';

/**
 * `busy`, `broken`: 429, 500. `unanswered`: it is done, and the connection breaks before the answer. Of watches: `gone` and `gone-within` (410, as status and as
 * event), `cut` (in the middle of a line), `short` (ended in order, soon).
 */
export type KubeFault = 'busy' | 'broken' | 'unanswered' | 'gone' | 'gone-within' | 'cut' | 'short';

/** A proxy before the API server of the cluster, which may answer otherwise. */
export interface KubeFaults {
  readonly port: number;
  /** A kubeconfig of clients that come by way of this port. */
  kubeconfig(port: number): string;
  /** From now on requests meet faults; connections that are open are cut. */
  begin(seed: number): void;
  end(): void;
  readonly met: Readonly<Partial<Record<KubeFault, number>>>;
  close(): Promise<void>;
}

interface Cluster {
  readonly server: URL;
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  readonly headers: Readonly<Record<string, string>>;
}

interface State {
  readonly cluster: Cluster;
  readonly agent: Agent;
  readonly met: Partial<Record<KubeFault, number>>;
  draw: ((request: IncomingMessage, body: Buffer) => KubeFault | undefined) | undefined;
}

/** @param folder for its certificate */
export async function openKubeFaults(folder: string): Promise<KubeFaults> {
  const [cluster, own] = await Promise.all([clusterOfEnvironment(), makeCertificate(folder)]);
  const agent = new Agent({ ...cluster.tls, keepAlive: true });
  const state: State = { cluster, agent, met: {}, draw: undefined };
  const server = createServer(own, (incoming, response) => {
    serve(state, incoming, response).catch(() => incoming.socket.destroy());
  });
  server.on('tlsClientError', () => undefined).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return {
    port: address.port,
    kubeconfig: (port) => kubeconfigOf(port, own.cert),
    begin: (seed) => {
      state.draw = faultsOf(seed);
      server.closeAllConnections();
    },
    end: () => {
      state.draw = undefined;
    },
    met: state.met,
    close: async () => {
      server.closeAllConnections();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function makeCertificate(folder: string): Promise<{ readonly key: Buffer; readonly cert: Buffer }> {
  const [key, cert] = [join(folder, 'kube.key'), join(folder, 'kube.crt')];
  const of = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const name = ['-subj', '/CN=kube', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const done = await run('openssl', ['req', '-x509', ...of, ...name, '-keyout', key, '-out', cert]);
  if (done.code !== 0) throw new Error(`openssl: ${done.stderr}`);
  return { key: await readFile(key), cert: await readFile(cert) };
}

async function clusterOfEnvironment(): Promise<Cluster> {
  const view = ['config', 'view', '--raw', '--flatten', '--minify', '-o', 'json'];
  const done = await run('kubectl', view, { env: { KUBECONFIG: process.env['KUBECONFIG'] ?? '' } });
  if (done.code !== 0) throw new Error(`kubectl: ${done.stderr}`);
  const { clusters, users } = JSON.parse(done.stdout) as {
    clusters: readonly { cluster: Readonly<Record<string, string>> }[];
    users: readonly { user: Readonly<Record<string, string>> }[];
  };
  const [cluster, user] = [clusters[0]?.cluster ?? {}, users[0]?.user ?? {}];
  const decoded = (as: string, text: string | undefined): object =>
    text === undefined ? {} : { [as]: Buffer.from(text, 'base64') };
  return {
    server: new URL(cluster['server'] ?? ''),
    tls: {
      ...decoded('ca', cluster['certificate-authority-data']),
      ...decoded('cert', user['client-certificate-data']),
      ...decoded('key', user['client-key-data']),
    },
    headers: user['token'] === undefined ? {} : { authorization: `Bearer ${user['token']}` },
  };
}

/** JSON, which is YAML as well. The proxy shows the cluster who asks. */
function kubeconfigOf(port: number, ca: Buffer): string {
  const name = 'faults';
  const server = `https://127.0.0.1:${port}`;
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    clusters: [{ name, cluster: { server, 'certificate-authority-data': ca.toString('base64') } }],
    users: [{ name, user: {} }],
    contexts: [{ name, context: { cluster: name, user: name } }],
  });
}

/** Which fault a request meets: each kind comes, in an order that the seed decides. */
function faultsOf(seed: number): NonNullable<State['draw']> {
  const random = randomOf(seed);
  const watches = bagOf(['gone', 'gone-within', 'cut', 'short', 'short', 'short'] as const, random);
  const creations = bagOf(['busy', 'broken', 'unanswered', 'unanswered'] as const, random);
  const others = bagOf(['busy', 'broken', undefined, undefined, undefined] as const, random);
  // A Job's creation is tried five times: some succeed only when their start is done again.
  const times = bagOf([1, 2, 4, 6], random);
  const jobs = new Map<string, { readonly fault: KubeFault; left: number }>();
  return ({ method, url = '' }, body) => {
    if (url.includes('watch=true')) return watches();
    if (!/\/namespaces\/[^/]+\/(jobs|pods)\b/.test(url)) return undefined;
    if (method !== 'POST') return others();
    const { metadata } = JSON.parse(body.toString()) as { metadata: { name: string } };
    const job = jobs.get(metadata.name) ?? { fault: creations(), left: times() };
    jobs.set(metadata.name, job);
    job.left -= 1;
    return job.left >= 0 ? job.fault : undefined;
  };
}

/** Park and Miller's. */
function randomOf(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function bagOf<T>(all: readonly T[], random: () => number): () => T {
  let left: T[] = [];
  return () => {
    if (left.length === 0) left = [...all];
    const [drawn] = left.splice(Math.floor(random() * left.length), 1);
    return drawn as T;
  };
}

async function serve(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { cluster, agent, met } = state;
  const body = await buffer(request);
  const fault = state.draw?.(request, body);
  if (fault !== undefined) met[fault] = (met[fault] ?? 0) + 1;
  if (fault === 'busy') return refuse(response, 429, { 'retry-after': '1' });
  if (fault === 'broken') return refuse(response, 500);
  if (fault === 'gone') return refuse(response, 410);
  if (fault === 'gone-within') return refuseWithin(response);
  const outgoing = ask(new URL(request.url ?? '/', cluster.server), {
    agent,
    method: request.method ?? 'GET',
    headers: { ...without(request.headers, 'connection', 'host'), ...cluster.headers },
  });
  response.on('close', () => outgoing.destroy());
  outgoing.on('error', () => request.socket.destroy()).end(body);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  if (fault === 'unanswered') {
    await buffer(answer);
    request.socket.destroy();
    return;
  }
  response.writeHead(answer.statusCode ?? 502, without(answer.headers, 'connection')).flushHeaders();
  answer.on('error', () => response.destroy());
  if (fault === 'cut') cutLine(answer, response);
  else answer.pipe(response);
  if (fault === 'short' || fault === 'cut') endSoon(answer, response, fault);
}

function without(headers: IncomingHttpHeaders, ...names: readonly string[]): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)));
}

const sentence = (code: number): string =>
  JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message: `a fault: ${code}` });

function refuse(
  response: ServerResponse,
  code: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(code, { 'content-type': 'application/json', ...headers }).end(sentence(code));
}

function refuseWithin(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(`{"type":"ERROR","object":${sentence(410)}}\n`);
}

function cutLine(answer: IncomingMessage, response: ServerResponse): void {
  answer.once('data', (chunk: Buffer) => {
    response.write(chunk.subarray(0, Math.floor(chunk.length / 2)), () => response.destroy());
  });
}

/** A watch without anything to tell lasts for ever. */
function endSoon(answer: IncomingMessage, response: ServerResponse, fault: 'short' | 'cut'): void {
  const timer = setTimeout(() => {
    // What comes after the end has nowhere to go.
    answer.unpipe(response);
    if (fault === 'short') response.end();
    else response.destroy();
  }, 1500);
  response.on('close', () => clearTimeout(timer));
}
