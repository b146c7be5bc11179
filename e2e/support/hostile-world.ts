import { parametersIn, type Operation } from './api-document.ts';
import { createService, definitionOf, runOf, tokenOf } from './service.ts';
import type { Server } from './server.ts';
import { waitFor } from './wait.ts';

/** A server in which everything exists that the examples of its routes speak of. */
export interface World {
  loginOf(operation: Operation): string | undefined;
  /** A body as it is sent: what is to be created has a name of its own each time. */
  bodyOf(operation: Operation, body: Buffer | string): Buffer;
  /** Whatever was changed of what the examples name is as it was. */
  restore(): Promise<void>;
  /** The example's path and query with what really is there. */
  targetOf(operation: Operation, change?: Change): string;
}

interface Change {
  readonly path?: Readonly<Record<string, string>>;
  /** What is to be deleted is there; it is not for hostile requests, which would be good ones then. */
  readonly isReal?: true;
  /** A parameter of the query. */
  readonly without?: string;
}

/** Ends at once, whatever it is given, unless it is told to wait. */
const script =
  'case "$(head -c 4 "$INPUT_FILE_PATH")" in wait) sleep 300 ;; esac\nhead -c 100 "$INPUT_FILE_PATH"\n';
const small = { cpu: '0.01', memory: '1Mi' };

const thumbnail = { ...small, synchronous: { min_scale: 1, max_scale: 4 } };

/** Makes what the examples name; `witness` and its bucket are named by nothing. */
export async function createWorld(server: Server): Promise<World> {
  await createService(server, 'witness', script, small);
  await createService(server, 'thumbnail', script, thumbnail);
  await done(server, 'POST', '/system/buckets', '{"bucket_name":"photos"}');
  await done(server, 'PUT', '/system/buckets/photos/objects/in/photo.jpg', 'hello world');
  const token = await tokenOf(server, 'thumbnail');
  await submit(server, token, 'thumbnail-5b2e', 'hello');
  await submit(server, token, 'thumbnail-7c41', 'wait!');
  await done(server, 'PUT', '/system/buckets/witness/objects/in/seen', 'hello');
  await waitFor('the first run to end', async () =>
    (await runOf(server, 'thumbnail-5b2e')).state === 'succeeded' ? true : undefined,
  );
  let letters = 1;
  const urls = await Promise.all(
    (['download', 'upload'] as const).map((operation) => presigned(server, operation)),
  );
  const admin = `Basic ${Buffer.from(`${server.username}:${server.password}`).toString('base64')}`;
  let made = 0;
  const actual = new Map([['thumbnail-5b2e.1.start', await createDeadLetter(server, letters)]]);
  return {
    bodyOf: ({ success, body }, bytes) => {
      if (body?.isJson !== true || success !== 201) return Buffer.from(bytes);
      made += 1;
      const own = /"((?:bucket_)?name)":"[a-z0-9-]+"/;
      return Buffer.from(Buffer.from(bytes).toString('latin1').replace(own, `"$1":"made-${made}"`), 'latin1');
    },
    restore: async () => {
      letters += 1;
      actual.set('thumbnail-5b2e.1.start', await createDeadLetter(server, letters));
      await done(server, 'PUT', '/system/config', '{}');
      await done(
        server,
        'PUT',
        '/system/services',
        JSON.stringify(definitionOf('thumbnail', script, thumbnail)),
      );
    },
    loginOf: ({ scheme }) =>
      scheme === 'basic' ? admin : scheme === 'bearer' ? `Bearer ${token}` : undefined,
    targetOf: (operation, change = {}) => {
      if (operation.scheme === 'presigned' && change.path === undefined)
        return urls[operation.method === 'PUT' ? 1 : 0] ?? '';
      return targetOf(operation, change, actual);
    },
  };
}

/**
 * The example's path and query.
 * @param actual what is really there by what the examples call it
 */
export function targetOf(operation: Operation, change: Change, actual: ReadonlyMap<string, string>): string {
  const values = new Map(
    parametersIn(operation, 'path').map(({ name, example }) => {
      const value = typeof example === 'string' ? example : JSON.stringify(example);
      if (operation.method === 'DELETE' && change.isReal !== true) return [name, 'no-such-thing'] as const;
      return [name, encodeURIComponent(actual.get(value) ?? value).replaceAll('%2F', '/')] as const;
    }),
  );
  const path = operation.path.replaceAll(
    /\{(\w+)\}/g,
    (_all, name: string) => change.path?.[name] ?? values.get(name) ?? '',
  );
  const query = parametersIn(operation, 'query')
    .filter(({ name, example }) => example !== undefined && name !== change.without)
    .map(
      ({ name, example }) => `${name}=${encodeURIComponent(String(example as string | number | boolean))}`,
    );
  return query.length === 0 ? path : `${path}?${query.join('&')}`;
}

async function done(server: Server, method: string, path: string, body: string, headers = {}): Promise<void> {
  const answer = await server.request(path, { method, body, headers });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
}

const submit = (server: Server, token: string, id: string, body: string): Promise<void> =>
  done(server, 'POST', '/job/thumbnail', body, {
    authorization: `Bearer ${token}`,
    'x-delegated-job-id': id,
  });

/** An object that came through too many services. */
async function createDeadLetter(server: Server, number: number): Promise<string> {
  const key = `in/loop-${number}`;
  await done(server, 'PUT', `/system/buckets/thumbnail/objects/${key}`, 'x', {
    'x-amz-meta-sluice-hop': '17',
  });
  return waitFor(`the dead letter of ${key}`, async () => {
    const answer = await server.request('/system/dead-letters');
    const { dead_letters: letters } = (await answer.json()) as {
      dead_letters: { id: string; payload: unknown }[];
    };
    return letters.find(({ payload }) => JSON.stringify(payload).includes(key))?.id;
  });
}

async function presigned(server: Server, operation: 'download' | 'upload'): Promise<string> {
  const body = JSON.stringify({ object_key: 'in/photo.jpg', operation });
  const answer = await server.request('/system/buckets/photos/presign', { method: 'POST', body });
  const { url } = (await answer.json()) as { url: string };
  return url.slice(server.url.length);
}
