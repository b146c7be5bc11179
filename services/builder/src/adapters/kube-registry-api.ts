import type { ConnectionOptions } from 'node:tls';
import { AppError, messageOf } from '@sluice/shared/errors';
import type * as undiciTypes from 'undici';
import type { Workload, WorkloadName, WorkloadPod } from '../domain/registry-workload.ts';

/** Where the API server is and how to show it who we are. */
export interface KubeAccess {
  readonly server: URL;
  readonly tls: Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized' | 'servername'>;
  /** Headers that authenticate a request. */
  headers(): Promise<Readonly<Record<string, string>>>;
}

/** What is done with a registry's workload; failures are AppErrors `unavailable` that say what Kubernetes said. */
export interface KubeRegistryApi {
  workload(signal: AbortSignal): Promise<Workload>;
  patch(patch: object, signal: AbortSignal): Promise<void>;
  pods(selector: string, signal: AbortSignal): Promise<readonly WorkloadPod[]>;
  /** Runs a program in a container of a pod to its end; lines of both its outputs are given on. */
  exec(
    pod: string,
    container: string,
    command: readonly string[],
    onLine: (line: string) => void,
    signal: AbortSignal,
  ): Promise<void>;
  close(): Promise<void>;
}

const requestMs = 10_000;
const maxLine = 4096;

export function createKubeRegistryApi(access: KubeAccess, name: WorkloadName): KubeRegistryApi {
  let loading:
    Promise<{ readonly undici: typeof undiciTypes; readonly agent: undiciTypes.Agent }> | undefined;
  const loaded = async () => {
    loading ??= import('undici').then((undici) => ({
      undici,
      agent: new undici.Agent({ connect: { ...access.tls, timeout: requestMs }, connections: 4 }),
    }));
    return loading;
  };
  const root = access.server.href.replace(/\/$/, '');
  const { namespace } = name;
  const own = `${root}/apis/apps/v1/namespaces/${namespace}/${name.kind}s/${name.name}`;
  const podsPath = `${root}/api/v1/namespaces/${namespace}/pods`;
  const ask = async (method: 'GET' | 'PATCH', url: string, signal: AbortSignal, body?: object) => {
    const { undici, agent } = await loaded();
    const answer = await undici.request(url, {
      method,
      dispatcher: agent,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/strategic-merge-patch+json' }),
        ...(await access.headers()),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(requestMs)]),
    });
    const found = (await answer.body.json()) as { message?: string; items?: unknown };
    if (answer.statusCode < 300) return found;
    throw refusal(found.message ?? `status ${answer.statusCode}`);
  };
  return {
    workload: async (signal) => translated(async () => (await ask('GET', own, signal)) as Workload),
    patch: async (patch, signal) => translated(async () => void (await ask('PATCH', own, signal, patch))),
    pods: async (selector, signal) =>
      translated(async () => {
        const url = `${podsPath}?${new URLSearchParams({ labelSelector: selector }).toString()}`;
        return ((await ask('GET', url, signal)).items ?? []) as readonly WorkloadPod[];
      }),
    exec: async (pod, container, command, onLine, signal) =>
      translated(async () => {
        const { undici, agent } = await loaded();
        const query = new URLSearchParams({ container, stdout: 'true', stderr: 'true' });
        for (const argument of command) query.append('command', argument);
        const url = `${podsPath}/${encodeURIComponent(pod)}/exec?${query.toString()}`.replace(/^http/, 'ws');
        const socket = new undici.WebSocket(url, {
          protocols: ['v5.channel.k8s.io', 'v4.channel.k8s.io'],
          dispatcher: agent,
          headers: await access.headers(),
        });
        await ended(socket, onLine, signal);
      }),
    close: async () => {
      await (await loading)?.agent.destroy();
    },
  };
}

type Socket = undiciTypes.WebSocket;

/** Channels of the protocol: the first byte of each message. */
const outputs: ReadonlySet<number> = new Set([1, 2]);
const statusChannel = 3;

async function ended(socket: Socket, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const lines = splitLines(onLine);
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('message', ({ data }: undiciTypes.MessageEvent) => {
    const bytes = Buffer.from(data as ArrayBuffer);
    const channel = bytes[0] ?? -1;
    if (outputs.has(channel)) lines.add(bytes.subarray(1).toString());
    if (channel !== statusChannel) return;
    lines.end();
    const { status, message } = JSON.parse(bytes.subarray(1).toString()) as Record<string, string>;
    if (status === 'Success') resolve();
    else
      reject(
        new AppError('unavailable', `The program in the registry's pod failed: ${message ?? 'no reason'}`),
      );
  });
  socket.addEventListener('error', ({ message }: undiciTypes.ErrorEvent) => reject(refusal(message)));
  socket.addEventListener('close', () => {
    reject(new AppError('unavailable', "The connection to the program in the registry's pod broke off."));
  });
  const abort = (): void => {
    reject(new AppError('unavailable', `It was broken off (${messageOf(signal.reason)}).`));
  };
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    await promise;
  } finally {
    signal.removeEventListener('abort', abort);
    socket.close();
  }
}

function splitLines(onLine: (line: string) => void): { add(text: string): void; end(): void } {
  let rest = '';
  return {
    add: (text) => {
      const parts = (rest + text).split('\n');
      rest = (parts.pop() ?? '').slice(0, maxLine);
      for (const line of parts) onLine(line);
    },
    end: () => {
      if (rest !== '') onLine(rest);
      rest = '';
    },
  };
}

function refusal(sentence: string): AppError {
  return new AppError('unavailable', `Kubernetes does not serve this: ${sentence.slice(0, 500)}`);
}

async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('unavailable', `Kubernetes cannot be reached: ${messageOf(error)}`, { cause: error });
  }
}
