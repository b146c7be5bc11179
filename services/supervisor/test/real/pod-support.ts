import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { createS3ObjectStore, type S3ObjectStore } from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import {
  podFolder,
  podShim,
  podVariables,
  type AttemptGrant,
  type AttemptReport,
  type RunnerGrant,
  type StorageGrant,
} from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import { eventually } from '@sluice/shared/testing';

const run = promisify(execFile);

function variable(name: string): string {
  const value = process.env[name];
  if (value) return value;
  throw new Error(`this test needs a cluster, an S3 server, a registry and BuildKit: set ${name}`);
}

/** An image of deploy/docker, built and pushed where that was not done yet. */
export async function builtImage(name: string): Promise<string> {
  const tool = fileURLToPath(new URL('../../../../tools/build-image.mjs', import.meta.url));
  const { stdout } = await run(process.execPath, [tool, name]);
  return stdout.trim();
}

export async function kubectl(args: readonly string[], input?: unknown): Promise<string> {
  variable('KUBECONFIG');
  const child = run('kubectl', [...args], { maxBuffer: 8 * 1024 * 1024 });
  child.child.stdin?.end(input === undefined ? '' : JSON.stringify(input));
  return (await child).stdout;
}

export async function openStore(): Promise<S3ObjectStore> {
  return createS3ObjectStore({
    connection: {
      endpoint: new URL(variable('MINIO_ENDPOINT')),
      region: 'us-east-1',
      accessKey: variable('MINIO_ACCESS_KEY'),
      secretKey: new Secret(variable('MINIO_SECRET_KEY')),
      verify: true,
    },
    clock: systemClock,
  });
}

/** Keys of the test's server, at its address for pods. */
export function storageGrant(): StorageGrant {
  const port = new URL(variable('MINIO_ENDPOINT')).port;
  return {
    endpoint: `http://${variable('TESTBED_GATEWAY')}:${port}`,
    region: 'us-east-1',
    access_key: variable('MINIO_ACCESS_KEY'),
    secret_key: variable('MINIO_SECRET_KEY'),
    verify: true,
  };
}

/** What a scheduler says to pods, and what it heard. */
export interface StubScheduler {
  readonly url: string;
  readonly reports: AttemptReport[];
  /** Questions that were answered, by their verb. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** @param grantOf undefined: 409 */
export async function startScheduler(
  token: string,
  grantOf: (path: string) => AttemptGrant | RunnerGrant | undefined,
): Promise<StubScheduler> {
  const reports: AttemptReport[] = [];
  const asked: string[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body: unknown = await json(request);
    const path = request.url ?? '';
    const verb = path.split('/').at(-1) ?? '';
    const grant = grantOf(path);
    asked.push(verb);
    if (request.headers.authorization !== `Bearer ${token}`) response.writeHead(401).end();
    else if (verb === 'report') {
      reports.push(body as AttemptReport);
      response.writeHead(204).end();
    } else if (grant === undefined) response.writeHead(409).end();
    else response.end(JSON.stringify(verb === 'storage' ? grant.storage : grant));
  };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${variable('TESTBED_GATEWAY')}:${port}`,
    reports,
    asked,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface PodParts {
  readonly name: string;
  readonly supervisor: string;
  readonly image: string;
  readonly env: Readonly<Partial<Record<keyof typeof podVariables, string>>>;
  /** Users of the two containers; absent: the images' own. */
  readonly users?: { readonly supervisor: number; readonly script: number };
  readonly memory?: string;
  /** @default 64Mi */
  readonly supervisorMemory?: string;
  /** Lets the containers see each other's processes, as no pod of ours does. */
  readonly sharedProcesses?: boolean;
}

export function podManifest(parts: PodParts): Readonly<Record<string, unknown>> {
  const env = Object.entries(parts.env).map(([key, value]) => ({
    name: podVariables[key as keyof typeof podVariables],
    value,
  }));
  const volumeMounts = [{ name: 'sluice', mountPath: podFolder }];
  const user = (id: number | undefined) => (id === undefined ? {} : { runAsUser: id, runAsGroup: id });
  const memory = parts.memory ?? '256Mi';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: parts.name },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      shareProcessNamespace: parts.sharedProcesses ?? false,
      terminationGracePeriodSeconds: 20,
      initContainers: [
        {
          name: 'supervisor',
          image: parts.supervisor,
          restartPolicy: 'Always',
          env,
          volumeMounts,
          resources: { limits: { memory: parts.supervisorMemory ?? '64Mi' } },
          securityContext: {
            readOnlyRootFilesystem: true,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            ...user(parts.users?.supervisor),
          },
        },
      ],
      containers: [
        {
          name: 'script',
          image: parts.image,
          command: ['/bin/sh', '-c', podShim],
          volumeMounts,
          resources: { limits: { memory } },
          securityContext: { allowPrivilegeEscalation: false, ...user(parts.users?.script) },
        },
      ],
      volumes: [{ name: 'sluice', emptyDir: {} }],
    },
  };
}

export interface PodStatus {
  readonly phase: string;
  readonly podIP?: string;
  readonly containerStatuses?: readonly {
    readonly state: { readonly terminated?: { readonly exitCode: number; readonly reason: string } };
  }[];
  readonly initContainerStatuses?: readonly {
    readonly restartCount: number;
    readonly state: { readonly terminated?: { readonly exitCode: number } };
  }[];
}

export async function podStatus(namespace: string, name: string): Promise<PodStatus> {
  const text = await kubectl(['get', 'pod', '-n', namespace, name, '-o', 'json']);
  return (JSON.parse(text) as { status: PodStatus }).status;
}

export async function podEnd(namespace: string, name: string): Promise<PodStatus> {
  return eventually(
    `the end of the pod ${name}`,
    async () => {
      const status = await podStatus(namespace, name);
      return ['Succeeded', 'Failed'].includes(status.phase) && status;
    },
    90_000,
  );
}

export function randomName(prefix: string): string {
  return `${prefix}-${randomBytes(5).toString('hex')}`;
}
