import { createHmac } from 'node:crypto';
import { expect } from 'vitest';
import { kubectl, type Distributed } from './distributed.ts';
import { runOf, type RunView } from './service.ts';
import { waitFor } from './wait.ts';

/** A service whose script is what it is sent: the tests' foot inside of a user's container. */
export const anyScript = '#!/bin/sh\n. "$INPUT_FILE_PATH"\n';

export interface Inside {
  readonly form: Distributed;
  /** Makes a service that runs what it is sent. @returns its token */
  apply(name: string, more?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Accepts a run of these lines. @returns its id */
  start(service: string, script: string, id?: string): Promise<string>;
  ended(id: string, timeoutMs?: number): Promise<RunView>;
  log(id: string): Promise<string>;
  /** A synchronous call of these lines. */
  call(service: string, script: string): Promise<{ status: number; text: string }>;
  keys(bucket: string): Promise<string[]>;
  text(bucket: string, key: string): Promise<string>;
}

export function goInside(form: Distributed): Inside {
  const tokens = new Map<string, string>();
  const post = async (path: string, service: string, body: string, headers: Record<string, string> = {}) =>
    form.request(`${path}/${service}`, {
      method: 'POST',
      body,
      headers: { authorization: `Bearer ${tokens.get(service) ?? ''}`, ...headers },
    });
  return {
    form,
    apply: async (name, more = {}) => {
      const body = JSON.stringify({
        name,
        image: 'busybox',
        cpu: '0.05',
        memory: '128Mi',
        script: anyScript,
        input: [{ storage_provider: 'minio.default', path: `${name}/in` }],
        output: [{ storage_provider: 'minio.default', path: `${name}/out` }],
        ...more,
      });
      const answer = await form.request('/system/services', { method: 'POST', body });
      expect(answer.status, await answer.text()).toBe(201);
      const read = await form.request(`/system/services/${name}`);
      const { token } = (await read.json()) as { token: string };
      tokens.set(name, token);
      return token;
    },
    start: async (service, script, id) => {
      const answer = await post(
        '/job',
        service,
        script,
        id === undefined ? {} : { 'x-delegated-job-id': id },
      );
      expect(answer.status, await answer.text()).toBe(201);
      return answer.headers.get('x-run-id') ?? '';
    },
    ended: async (id, timeoutMs = 150_000) => {
      let last: RunView | undefined;
      return waitFor(
        `the end of the run ${id}`,
        async () => {
          last = await runOf(form, id);
          return ['queued', 'starting', 'running'].includes(last.state) ? undefined : last;
        },
        timeoutMs,
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}: ${JSON.stringify(last?.timeline)}`);
      });
    },
    log: async (id) => (await form.request(`/system/runs/${id}/log`)).text(),
    call: async (service, script) => {
      const answer = await post('/run', service, script);
      const text = await answer.text();
      // One file comes as its bytes in base64.
      return { status: answer.status, text: answer.ok ? Buffer.from(text, 'base64').toString() : text };
    },
    keys: async (bucket) => {
      const answer = await form.request(`/system/buckets/${bucket}/objects`);
      const { objects } = (await answer.json()) as { objects: { key: string }[] };
      return objects.map(({ key }) => key);
    },
    text: async (bucket, key) => {
      const path = key.split('/').map(encodeURIComponent).join('/');
      return (await form.request(`/system/buckets/${bucket}/objects/${path}`)).text();
    },
  };
}

interface PodObject {
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly initContainers: readonly {
      readonly env: readonly { readonly name: string; readonly value?: string }[];
      readonly securityContext: unknown;
    }[];
    readonly containers: readonly { readonly securityContext: unknown; readonly env: unknown }[];
    readonly [field: string]: unknown;
  };
  readonly status: { readonly podIP?: string; readonly phase: string };
}

/** The pod of a service that has begun, and what its supervisor was given. */
export async function podOf(
  form: Distributed,
  service: string,
): Promise<{ readonly pod: PodObject; readonly env: ReadonlyMap<string, string> }> {
  const pod = await waitFor(
    `a pod of ${service}`,
    async () => {
      const labels = `sluice.internal/service=${service}`;
      const list = await kubectl('get', 'pods', '-n', form.jobs, '-l', labels, '-o', 'json');
      const { items } = JSON.parse(list) as { items: PodObject[] };
      return items.find(({ status }) => status.phase === 'Running');
    },
    120_000,
  );
  const env = pod.spec.initContainers[0]?.env ?? [];
  return { pod, env: new Map(env.map(({ name, value = '' }) => [name, value])) };
}

/** A token as the scheduler makes it, of anything and until any time. */
export function forgedToken(key: string, parts: readonly (string | number)[], expiresAt: number): string {
  const text = JSON.stringify([...parts, expiresAt]);
  return `${expiresAt}.${createHmac('sha256', key).update(text).digest('hex')}`;
}

/** Fails where one of the secrets is in a text; says where, and which by its name only. */
export function expectNone(where: string, text: string, secrets: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(secrets)) {
    if (value === '') throw new Error(`the secret ${name} is empty: nothing was looked for`);
    expect(text.includes(value), `${name} in ${where}`).toBe(false);
  }
}

/** What `askRoutes` printed, a line each. */
export function statusesIn(text: string): readonly string[] {
  return text.split('\n').filter((line) => line.startsWith('ask http'));
}

/** Whether a route said no, by its status. */
export function isRefused(line: string): boolean {
  return / HTTP\/1\.1 40[14] /.test(line);
}
