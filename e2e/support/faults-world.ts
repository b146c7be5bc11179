import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openBalancer, type Balancer } from './balancer.ts';
import { startDistributed, type Distributed } from './distributed.ts';
import { openKubeFaults, type KubeFaults } from './kube-faults.ts';
import { openOwnServers, type OwnServers } from './own-servers.ts';
import { removeFolder, tempFolder } from './server.ts';
import { createService, runsOf, tokenOf, type RunView } from './service.ts';
import { waitFor } from './wait.ts';

/** How long a server is away. */
const outageMs = Number(process.env['SLUICE_TEST_OUTAGE'] ?? '8') * 1000;
const open = new Set(['queued', 'starting', 'running']);

/** An installation on servers that may be broken, and an API server that may be cut off. */
export interface FaultsWorld {
  readonly servers: OwnServers;
  readonly form: Distributed;
  /** Between the schedulers and the API server of the cluster. */
  readonly kube: Balancer;
  /** The same API server, as it may answer. */
  readonly kubeFaults: KubeFaults;
  /** A service on a small image. */
  create(name: string, script: string, more?: Readonly<Record<string, unknown>>): Promise<void>;
  put(service: string, key: string, body: string | Buffer): Promise<void>;
  /** A `/job` call, always the same of a service: whoever repeats it means the same run. */
  submit(service: string, body?: string): Promise<Response>;
  /** The runs of a service, once there are so many and all have ended. */
  ended(service: string, count: number): Promise<RunView[]>;
  /** The first run of a service that is as wanted. */
  runWhere(service: string, isWanted: (run: RunView) => boolean): Promise<RunView>;
  /** Takes a server away, does something meanwhile, and brings it back. */
  outage(of: { stop: () => unknown; start: () => unknown }, meanwhile: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

export async function openFaultsWorld(): Promise<FaultsWorld> {
  const [servers, folder] = await Promise.all([openOwnServers(), tempFolder()]);
  const kubeFaults = await openKubeFaults(folder);
  const kube = await openBalancer([kubeFaults.port]);
  const through = join(folder, 'kubeconfig');
  await writeFile(through, kubeFaults.kubeconfig(kube.port));
  const form = await startDistributed({
    servers: servers.env,
    env: { KUBECONFIG: through, SLUICE_RECONCILE_INTERVAL: '2', SLUICE_MAX_RUNS: '4' },
  });
  const tokens = new Map<string, string>();
  return {
    servers,
    form,
    kube,
    kubeFaults,
    create: async (name, script, more = {}) => {
      const small = { image: 'busybox', memory: '16Mi', cpu: '0.05' };
      // A server that was away just now may be away for the api for a moment more.
      await waitFor(
        `the service ${name}`,
        async () =>
          createService(form, name, `#!/bin/sh\n${script}\n`, { ...small, ...more }).then(
            () => true,
            (error: unknown) => {
              if (!String(error).includes(': 503 ')) throw error;
              return undefined;
            },
          ),
        60_000,
      );
      tokens.set(name, await tokenOf(form, name));
    },
    put: async (service, key, body) => {
      await servers.minio.client.putObject(service, `in/${key}`, body);
    },
    submit: async (service, body = '{}') => {
      const headers = { authorization: `Bearer ${tokens.get(service) ?? ''}`, 'idempotency-key': service };
      return form.request(`/job/${service}`, { method: 'POST', body, headers });
    },
    ended: (service, count) => allEnded(form, service, count),
    runWhere: (service, isWanted) =>
      waitFor(
        `a run of ${service} that is as wanted`,
        async () => (await runsOf(form, service).catch(() => [])).find(isWanted),
        120_000,
      ),
    outage: async ({ stop, start }, meanwhile) => {
      await stop();
      const over = delay(outageMs);
      try {
        await meanwhile();
        await over;
      } finally {
        await start();
      }
    },
    close: async () => {
      await form.close();
      await kube.close();
      await kubeFaults.close();
      await servers.close();
      await removeFolder(folder);
    },
  };
}

async function allEnded(form: Distributed, service: string, count: number): Promise<RunView[]> {
  let last: readonly RunView[] = [];
  try {
    return await waitFor(
      `${count} runs of ${service} to end`,
      async () => {
        // While a server is away there is nobody to tell.
        const runs = await runsOf(form, service).catch(() => []);
        last = runs;
        return runs.length >= count && runs.every(({ state }) => !open.has(state)) ? runs : undefined;
      },
      180_000,
    );
  } catch (error) {
    throw new Error(`${String(error)}: ${JSON.stringify(last.map(({ timeline }) => timeline))}`, {
      cause: error,
    });
  }
}
