import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { kubectl, needed, randomNamespace, startDistributed, type Distributed } from './distributed.ts';
import { openGate, type Gate } from './gate.ts';
import { openMinio, type Minio } from './minio.ts';
import { removeFolder, startServer, tempFolder, type Installation } from './server.ts';

/** What the suites need that both forms go through: an installation, and a hand on what lies around it. */
export interface World extends Installation {
  readonly form: 'standalone' | 'distributed';
  /** A folder for the test's own files. */
  readonly files: string;
  readonly gate: Gate;
  /** What a definition that was read back says of its surroundings. */
  readonly surroundings: {
    readonly namespace: string;
    readonly endpoint: string;
    readonly region: string;
  };
  /** Puts a file where the api does not see it: into a bucket's folder, or on the S3 server. */
  drop(bucket: string, key: string, body: string | Buffer): Promise<void>;
  /** Deletes what is left of the runs of a service where they ran. */
  removePods(service: string): Promise<void>;
  /** Stops what answers and starts it again: the server, or every api, one after the other. */
  restart(signal?: NodeJS.Signals): Promise<void>;
  close(): Promise<void>;
}

export interface DistributedWorld extends World {
  readonly distributed: Distributed;
  readonly minio: Minio;
}

export async function standaloneWorld(env: Readonly<Record<string, string>> = {}): Promise<World> {
  const [data, files, gate] = await Promise.all([tempFolder(), tempFolder(), openGate()]);
  let server = await startServer({ data, env });
  return {
    form: 'standalone',
    files,
    gate,
    surroundings: { namespace: 'oscar-svc', endpoint: '', region: '' },
    get url() {
      return server.url;
    },
    username: server.username,
    password: server.password,
    request: (path, init) => server.request(path, init),
    sluice: (...args) => server.sluice(...args),
    drop: async (bucket, key, body) => {
      const path = join(data, 'buckets', bucket, key);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, body);
    },
    // A process leaves nothing.
    removePods: async () => {},
    restart: async (signal) => {
      await server.stop(signal);
      server = await startServer({ data, env });
    },
    close: async () => {
      await server.stop();
      await gate.close();
      await Promise.all([removeFolder(data), removeFolder(files)]);
    },
  };
}

/** Two processes of each component, Jobs on the cluster, and an S3 server of its own, whose buckets no other test uses. */
export async function distributedWorld(
  options: {
    /** Of all components. */
    readonly env?: Readonly<Record<string, string>>;
    /** Of the S3 server. */
    readonly minio?: Readonly<Record<string, string>>;
  } = {},
): Promise<DistributedWorld> {
  const namespace = randomNamespace();
  const subject = `${namespace}.storage.notification`;
  const files = await tempFolder();
  const gate = await openGate(needed('TESTBED_GATEWAY'));
  const minio = await openMinio({ host: '0.0.0.0', env: { ...notifyVariables(subject), ...options.minio } });
  const all = {
    SLUICE_NOTIFY_SUBJECT: subject,
    ...options.env,
  };
  const form = await startDistributed({ namespace, objects: minio.env, env: all }).catch(
    async (error: unknown) => {
      await Promise.all([minio.close(), gate.close()]);
      throw error;
    },
  );
  return {
    ...form,
    form: 'distributed',
    distributed: form,
    minio,
    files,
    gate,
    surroundings: { namespace: form.jobs, endpoint: minio.url, region: 'us-east-1' },
    drop: async (bucket, key, body) => {
      if (!(await minio.client.bucketExists(bucket))) await minio.client.makeBucket(bucket);
      await minio.client.putObject(bucket, key, body);
    },
    removePods: async (service) => {
      const selector = `--selector=sluice.internal/service=${service}`;
      await kubectl('delete', 'jobs,pods', selector, '--namespace', form.jobs, '--wait', '--timeout=60s');
    },
    restart: async (signal) => {
      for (const api of form.components.filter(({ name }) => name === 'api')) {
        await api.stop(signal);
        await api.start();
      }
    },
    close: async () => {
      await form.close();
      await Promise.all([minio.close(), gate.close(), removeFolder(files)]);
    },
  };
}

/** A target of the S3 server that publishes to the NATS server of the environment. */
function notifyVariables(subject: string): Record<string, string> {
  const [first = ''] = needed('NATS_URL').split(',');
  return {
    MINIO_NOTIFY_NATS_ENABLE_SLUICE: 'on',
    MINIO_NOTIFY_NATS_ADDRESS_SLUICE: new URL(first).host,
    MINIO_NOTIFY_NATS_SUBJECT_SLUICE: subject,
    MINIO_NOTIFY_NATS_JETSTREAM_SLUICE: 'on',
  };
}
