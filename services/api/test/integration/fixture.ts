import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import {
  createFolderObjectStore,
  createFolderRunLogs,
  createPresigner,
  createSqliteBus,
  createSqliteDefinitionStore,
  createSqliteObjectIndex,
  createSqliteRunLedger,
  createSqliteSettings,
  openDatabase,
} from '@sluice/shared/adapters';
import type { Bus } from '@sluice/shared/bus';
import { loadConfig, Secret } from '@sluice/shared/config';
import { runChangedMessage, runStartMessage, type Run, type RunState } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, ObjectStore, RunLedger, RunLogs } from '@sluice/shared/stores';
import { createMetrics, silentLogger } from '@sluice/shared/telemetry';
import { runnerKey } from './fake-runner.ts';
import { apiConfig, apiVariables, createApi, type Api, type ApiDeps } from '@sluice/api';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly bytes: Buffer;
  json(): unknown;
}

export interface Call {
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
  /** `admin` (the default), a token, or null for no login. */
  readonly as?: string | null;
}

export interface Fixture {
  readonly api: Api;
  readonly bus: Bus;
  readonly definitions: DefinitionStore;
  readonly ledger: RunLedger;
  readonly objects: ObjectStore;
  readonly logs: RunLogs;
  call(method: string, path: string, call?: Call): Promise<Answer>;
  /** Writes bytes to a new connection and reads until the server closes it, or for `quietMs` nothing came. */
  raw(bytes: string | Uint8Array, quietMs?: number): Promise<string>;
  /** Another api over the same stores and bus. */
  second(): Promise<Pick<Fixture, 'api' | 'call' | 'close'>>;
  /** Creates a service of that name with `in` and `out`; its token. */
  service(name: string, extra?: object): Promise<string>;
  /** Brings a run to a state, as the scheduler would. */
  bring(id: string, to: RunState): Promise<Run>;
  close(): Promise<void>;
}

export const password = 'pass:wörd';
export const adminHeader = `Basic ${Buffer.from(`oscar:${password}`).toString('base64')}`;

/** An api on a free port over the real embedded adapters in a folder of its own. */
export async function startFixture(
  change: { env?: Record<string, string>; deps?: (deps: ApiDeps) => Partial<ApiDeps> } = {},
): Promise<Fixture> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-api-'));
  const log = silentLogger();
  const clock = systemClock;
  const db = openDatabase({ path: join(folder, 'sluice.db'), clock, log });
  const bus = createSqliteBus({ db, namespace: 'test', clock, log, random: randomBytes });
  const definitions = createSqliteDefinitionStore({ db, clock, random: randomBytes });
  const ledger = createSqliteRunLedger({
    db,
    clock,
    startMessage: runStartMessage,
    eventsFor: (run) => [runChangedMessage(run, clock.now())],
  });
  let api: Api | undefined;
  const presigner = createPresigner({
    key: new Secret('k'.repeat(64)),
    baseUrl: () => api?.address().url ?? '',
    clock,
  });
  const objects = await createFolderObjectStore({
    bucketsRoot: join(folder, 'buckets'),
    systemRoot: join(folder, 'system'),
    tempRoot: join(folder, 'tmp'),
    index: createSqliteObjectIndex(db),
    clock,
    log,
    presign: presigner,
  });
  const logs = createFolderRunLogs({ root: join(folder, 'logs'), clock });
  const env = {
    MINIO_ENDPOINT: 'https://minio-service.minio:9000',
    MINIO_REGION: 'us-east-1',
    OSCAR_SERVICE_PORT: '0',
    ...change.env,
  };
  const deps: ApiDeps = {
    config: apiConfig(
      loadConfig(apiVariables, env, () => ''),
      { adminPassword: new Secret(password), version: '1.2.3', gitCommit: 'abc', arch: 'x64' },
    ),
    definitions,
    ledger,
    objects,
    logs,
    settings: createSqliteSettings(db),
    bus,
    presigner,
    runnerKey: new Secret(runnerKey),
    capabilities: {
      warnings: (definition) => [`image is not used: ${definition.image}`],
      refuse: (definition) =>
        definition.enable_sgx ? [{ field: 'enable_sgx', message: 'this machine has no SGX' }] : [],
    },
    installation: () => ({
      adapters: { bus: { adapter: 'sqlite', chosen_by: 'SLUICE_BUS' } },
      slots: 4,
      bucketsPath: '/data/buckets',
    }),
    nodes: async () => [
      {
        name: 'machine',
        ready: true,
        cpuMillis: { capacity: 4000, used: 1500, requested: 200 },
        memoryBytes: { capacity: 8 * 2 ** 30, used: 2 * 2 ** 30, requested: 256 * 2 ** 20 },
        conditions: [{ type: 'Ready', status: true }],
      },
    ],
    clock,
    log,
    metrics: createMetrics(),
  };
  api = createApi({ ...deps, ...change.deps?.(deps) });
  const closeRest = async (): Promise<void> => {
    await bus.close();
    await objects.close();
    await db.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await api.start();
  } catch (error) {
    await closeRest();
    throw error;
  }
  const { port } = api.address();
  const { call, close } = connectTo(api);
  return {
    api,
    bus,
    definitions,
    ledger,
    objects,
    logs,
    call,
    raw: (bytes, quietMs = 300) => rawExchange(port, bytes, quietMs),
    second: async () => {
      const other = createApi({ ...deps, ...change.deps?.(deps) });
      await other.start();
      return connectTo(other);
    },
    service: (name, extra) => makeService(call, name, extra),
    bring: (id, to) => bringRun(ledger, id, to),
    close: async () => {
      await close();
      await closeRest();
    },
  };
}

function connectTo(api: Api): Pick<Fixture, 'api' | 'call' | 'close'> {
  const agent = new Agent({ keepAlive: true });
  return {
    api,
    call: caller(api.address().port, agent),
    close: async () => {
      agent.destroy();
      await api.stop();
    },
  };
}

function caller(port: number, agent: Agent): Fixture['call'] {
  return async (method, path, { headers = {}, body, as = 'admin' } = {}) => {
    const authorization = as === null ? {} : { authorization: as === 'admin' ? adminHeader : `Bearer ${as}` };
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const request = httpRequest(
      { port, agent, method, path, headers: { ...authorization, ...headers } },
      (response) => {
        buffer(response).then((bytes) => {
          const text = bytes.toString('utf8');
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            bytes,
            json: () => JSON.parse(text) as unknown,
          });
        }, reject);
      },
    );
    request.on('error', reject);
    request.end(body);
    return promise;
  };
}

async function rawExchange(port: number, bytes: string | Uint8Array, quietMs: number): Promise<string> {
  const socket = connect(port);
  const { promise, resolve } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  const finish = (): void => {
    socket.destroy();
    resolve(Buffer.concat(chunks).toString('latin1'));
  };
  socket.setTimeout(quietMs, () => {
    if (chunks.length > 0) finish();
  });
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
  });
  socket.on('close', finish);
  socket.on('error', finish);
  socket.write(bytes);
  return promise;
}

async function makeService(call: Fixture['call'], name: string, extra: object = {}): Promise<string> {
  const definition = {
    name,
    image: 'ghcr.io/example/demo',
    script: 'true\n',
    input: [{ storage_provider: 'minio.default', path: `${name}/in` }],
    output: [{ storage_provider: 'minio.default', path: `${name}/out` }],
    ...extra,
  };
  const answer = await call('POST', '/system/services', { body: JSON.stringify(definition) });
  if (answer.status !== 201) throw new Error(`not created: ${answer.status} ${answer.text}`);
  const read = (await call('GET', `/system/services/${name}`)).json() as { token: string };
  return read.token;
}

async function bringRun(ledger: RunLedger, id: string, to: RunState): Promise<Run> {
  const step = async (state: RunState, from: RunState[]): Promise<void> => {
    const exit = state === 'succeeded' ? { set: { exit_code: 0 } } : {};
    const result = await ledger.transition({ id, from, to: state, ...exit });
    if (!result.applied) throw new Error(`${id} did not become ${state}: ${result.reason}`);
  };
  if (to !== 'queued') await step('starting', ['queued']);
  if (to !== 'queued' && to !== 'starting') await step('running', ['starting']);
  if (!['queued', 'starting', 'running'].includes(to)) await step(to, ['running']);
  const run = await ledger.get(id);
  if (run === undefined) throw new Error(`${id} is gone`);
  return run;
}
