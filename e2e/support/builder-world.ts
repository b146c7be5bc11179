import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { needed, randomNamespace, removeStored } from './distributed.ts';
import { removeFolder, startServer, tempFolder, type Server } from './server.ts';
import { waitFor } from './wait.ts';

/** A build's ticket as `GET /system/builds/{id}` gives it. */
export interface BuildView {
  readonly id: string;
  readonly build: string;
  readonly state: string;
  readonly message?: string;
  readonly code?: string;
  readonly image: string;
  readonly digest?: string;
  readonly reused: boolean;
  readonly requirements?: string;
}

/** An account of the builder's routes. */
export interface Builder {
  readonly login: string;
  readonly token: string;
  request(path: string, init?: RequestInit): Promise<Response>;
  /** `POST build/start`; the answer's status and members. */
  start(
    request: Readonly<Record<string, unknown>>,
  ): Promise<{ readonly status: number; readonly body: Started }>;
  /** The same, where it is expected to be taken. @returns the ticket's id */
  started(request: Readonly<Record<string, unknown>>): Promise<string>;
  view(id: string): Promise<BuildView>;
  ended(id: string, timeoutMs?: number): Promise<BuildView>;
  log(id: string): Promise<string>;
}

export interface Started {
  readonly id?: string;
  readonly job_name?: string;
  readonly message: string;
  readonly status: string;
}

export interface BuilderWorld {
  readonly registry: string;
  readonly namespace: string;
  readonly data: string;
  server(): Server;
  /** The administrator's account, and two others. */
  readonly admin: Builder;
  readonly anna: Builder;
  readonly otto: Builder;
  /** As many more as were asked for. */
  readonly others: readonly Builder[];
  /** `SIGKILL` and a new process with the same data. */
  kill(): Promise<void>;
  /** Folders of builds that are under way, or were left. */
  buildFolders(): Promise<string[]>;
  close(): Promise<void>;
}

export const requirements = (text: string): string => Buffer.from(text).toString('base64');

/** Of `/system/api/v1/build/start`, with what most tests do not care about. */
export const python = (
  user: Builder,
  tag: string,
  file: string,
  more: object = {},
): Record<string, unknown> => ({
  source: 'python:3.11-slim',
  kind: 'python',
  target: `${user.login}:${tag}`,
  file: requirements(file),
  ...more,
});

/**
 * A standalone server with Redis, BuildKit and registry of the environment, and accounts that nobody else has.
 * @param others accounts beside the usual ones: how many, or their environments
 */
export async function openBuilderWorld(
  env: Readonly<Record<string, string>> = {},
  others: number | readonly Readonly<Record<string, string>>[] = 0,
): Promise<BuilderWorld> {
  const registry = env['REGISTRY_HOST'] ?? needed('REGISTRY_HOST');
  const namespace = randomNamespace();
  const data = await tempFolder();
  const further = typeof others === 'number' ? Array.from({ length: others }, () => ({})) : others;
  const wanted = [
    ['anna', {}],
    ['otto', {}],
    ...further.map((its, at) => [`u${at}x`, its] as const),
  ] as const;
  const accounts = wanted.map(([name, its]) => ({
    login: `${name}${randomBytes(4).toString('hex')}`,
    uuid: crypto.randomUUID(),
    key: randomBytes(32).toString('hex'),
    env: its,
  }));
  const start = (): Promise<Server> =>
    startServer({
      data,
      env: {
        REDIS_URL: env['REDIS_URL'] ?? needed('REDIS_URL'),
        BUILDKIT_HOST: env['BUILDKIT_HOST'] ?? needed('BUILDKIT_HOST'),
        REGISTRY_HOST: registry,
        // Base images of well-known names are in the same registry here.
        SLUICE_REGISTRY_MIRRORS: `docker.io=${registry}`,
        SLUICE_NAMESPACE: namespace,
        SLUICE_ACCOUNTS: JSON.stringify(accounts),
        OSCAR_USERNAME: `boss${namespace}`,
        ...env,
      },
    });
  let server = await start();
  const user = (login: string, token: string): Builder => createBuilder(() => server.url, login, token);
  const [anna, otto, ...more] = accounts.map(({ login, uuid, key }) => user(login, `${uuid}:${key}`));
  if (anna === undefined || otto === undefined) throw new Error('unreachable');
  return {
    registry,
    namespace,
    data,
    server: () => server,
    admin: user(server.username, `${server.username}:${server.password}`),
    anna,
    otto,
    others: more,
    kill: async () => {
      await server.stop('SIGKILL');
      server = await start();
    },
    buildFolders: () => readdir(join(data, 'work', 'builds')).catch(() => []),
    close: async () => {
      await server.stop();
      // A Redis of the test's own goes with the test.
      if (env['REDIS_URL'] === undefined) await removeStored(namespace);
      await removeFolder(data);
    },
  };
}

function createBuilder(url: () => string, login: string, token: string): Builder {
  const request: Builder['request'] = (path, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Basic ${Buffer.from(token).toString('base64')}`);
    return fetch(`${url()}${path}`, { ...init, headers });
  };
  const start: Builder['start'] = async (asked) => {
    const answer = await request('/system/api/v1/build/start', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(asked),
    });
    return { status: answer.status, body: (await answer.json()) as Started };
  };
  const view: Builder['view'] = async (id) => {
    const answer = await request(`/system/builds/${id}`);
    if (!answer.ok) throw new Error(`the build ${id}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as BuildView;
  };
  return {
    login,
    token,
    request,
    start,
    started: async (asked) => {
      const { status, body } = await start(asked);
      if (status !== 200 || body.id === undefined) throw new Error(`${status} ${JSON.stringify(body)}`);
      return body.id;
    },
    view,
    ended: (id, timeoutMs = 240_000) =>
      waitFor(
        `the build ${id} to end`,
        async () => {
          // The server may be away for a moment.
          const seen = await view(id).catch(() => undefined);
          return seen === undefined || ['queued', 'running'].includes(seen.state) ? undefined : seen;
        },
        timeoutMs,
        100,
      ),
    log: async (id) => {
      const answer = await request(`/system/builds/${id}/logs`);
      return answer.text();
    },
  };
}
