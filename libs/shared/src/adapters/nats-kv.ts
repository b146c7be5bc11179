import type { JetStreamManager, StreamConfig } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { AppError } from '../errors/index.ts';
import type { Nats } from './nats-connection.ts';
import { fromNatsError, jetStreamCode } from './nats-errors.ts';

export interface NatsKvOptions {
  readonly nats: Nats;
  /** Lower-case prefix of all buckets. */
  readonly namespace: string;
  /** Servers that keep a copy. @default 1 */
  readonly replicas?: number;
}

export interface NatsEntry {
  readonly value: Uint8Array;
  readonly revision: number;
}

/** One KV bucket. Reads are those of its leader: what was written by anybody is seen. */
export interface NatsBucket {
  readonly stream: string;
  /** The subject of a key, or of `>` for all. */
  subject(key: string): string;
  get(key: string): Promise<NatsEntry | undefined>;
  /**
   * Writes where the key still has that revision; 0 where it must not be there.
   * @returns the new revision
   * @throws AppError `precondition_failed`; `unavailable`, after which it may be written or not
   */
  write(key: string, value: Uint8Array | string, revision: number): Promise<number>;
  put(key: string, value: Uint8Array | string): Promise<number>;
  /** Leaves a marker that watchers see. @throws AppError `precondition_failed` */
  remove(key: string, revision: number): Promise<void>;
  /** Makes one stored revision unreadable, on the disk too; absent is fine. Watchers see nothing of it. */
  erase(revision: number): Promise<void>;
  /** Newest revision of the bucket, whatever its key. */
  lastRevision(): Promise<number>;
}

/** Opens a bucket, made with a file storage where it is absent; a changed number of replicas is taken over. */
export async function openBucket(options: NatsKvOptions, purpose: string): Promise<NatsBucket> {
  const { nats, namespace, replicas = 1 } = options;
  const what = `open the NATS bucket ${namespace}-${purpose}`;
  nats.requireConnected();
  try {
    const [{ Kvm }, { jetstream, jetstreamManager }] = await Promise.all([
      import('@nats-io/kv'),
      import('@nats-io/jetstream'),
    ]);
    const manager = await jetstreamManager(nats.connection);
    const name = `${namespace}-${purpose}`;
    // Not "direct": those reads are any replica's, and may be older than what this process has just written.
    const settings = { history: 1, replicas, allow_direct: false };
    const kv = await createTogether(async () => new Kvm(jetstream(nats.connection)).create(name, settings));
    await alignReplicas(manager, `KV_${name}`, replicas);
    return bucketOf({ nats, name, kv, manager });
  } catch (error) {
    throw fromNatsError(error, what);
  }
}

/** Removes a bucket with all that is in it. */
export async function dropBucket({ nats, namespace }: NatsKvOptions, purpose: string): Promise<void> {
  const { jetstreamManager } = await import('@nats-io/jetstream');
  try {
    await (await jetstreamManager(nats.connection)).streams.delete(`KV_${namespace}-${purpose}`);
  } catch (error) {
    const failure = fromNatsError(error, `remove the NATS bucket ${namespace}-${purpose}`);
    if (!(failure instanceof AppError) || failure.code !== 'not_found') throw failure;
  }
}

/** "The stream exists already, with other settings": a process of another number of replicas was quicker. */
const streamExists = 10_058;

async function createTogether(create: () => Promise<KV>): Promise<KV> {
  try {
    return await create();
  } catch (error) {
    if (jetStreamCode(error) !== streamExists) throw error;
    return create();
  }
}

async function alignReplicas(manager: JetStreamManager, stream: string, replicas: number): Promise<void> {
  const { config } = await manager.streams.info(stream);
  if (config.num_replicas === replicas) return;
  const changed: StreamConfig = { ...config, num_replicas: replicas };
  await manager.streams.update(stream, changed);
}

interface BucketDeps {
  readonly nats: Nats;
  readonly name: string;
  readonly kv: KV;
  readonly manager: JetStreamManager;
}

function bucketOf({ nats, name, kv, manager }: BucketDeps): NatsBucket {
  const stream = `KV_${name}`;
  // Without a server the package would keep a write for later, after its caller was told that it had failed.
  const call = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    nats.requireConnected();
    try {
      return await work();
    } catch (error) {
      throw fromNatsError(error, `${what} the NATS bucket ${name}`);
    }
  };
  return {
    stream,
    subject: (key) => `$KV.${name}.${key}`,
    get: async (key) =>
      call('read', async () => {
        const entry = await kv.get(key);
        if (entry?.operation !== 'PUT') return undefined;
        return { value: entry.value, revision: entry.revision };
      }),
    write: async (key, value, revision) =>
      call('write', async () => (revision === 0 ? kv.create(key, value) : kv.update(key, value, revision))),
    put: async (key, value) => call('write', async () => kv.put(key, value)),
    remove: async (key, revision) => call('write', async () => kv.delete(key, { previousSeq: revision })),
    erase: async (revision) =>
      call('erase from', async () => {
        try {
          await manager.streams.deleteMessage(stream, revision, true);
        } catch (error) {
          if (jetStreamCode(error) !== sequenceNotFound) throw error;
        }
      }),
    lastRevision: async () => call('read', async () => (await manager.streams.info(stream)).state.last_seq),
  };
}

/** What the server answers where a message is gone already. */
const sequenceNotFound = 10_043;
