import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { AppError } from '@sluice/shared/errors';
import type { ObjectHead, ObjectStore } from '@sluice/shared/stores';

/** What the supervisor uses of a store. */
export type SupervisorStore = Pick<ObjectStore, 'get' | 'head' | 'put'>;

export interface MemoryStore extends SupervisorStore {
  readonly objects: Map<string, { info: ObjectHead; bytes: Buffer }>;
  /** Called before each operation; what it throws, the operation throws. */
  before: (operation: 'get' | 'head' | 'put', address: string) => void | Promise<void>;
}

/** Stands in for a store only where a real one cannot be made to fail at the right moment. */
export function createMemoryStore(): MemoryStore {
  const objects: MemoryStore['objects'] = new Map();
  let states = 0;
  const store: MemoryStore = {
    objects,
    before: () => undefined,
    head: async (bucket, key) => {
      await store.before('head', `${bucket}/${key}`);
      return objects.get(`${bucket}/${key}`)?.info;
    },
    get: async (bucket, key, options = {}) => {
      await store.before('get', `${bucket}/${key}`);
      const found = objects.get(`${bucket}/${key}`);
      if (found === undefined) throw new AppError('not_found', 'no such object');
      if (options.ifMatch !== undefined && options.ifMatch !== found.info.etag) {
        throw new AppError('precondition_failed', 'another state');
      }
      return { info: found.info, body: Readable.from([found.bytes]) };
    },
    put: async (bucket, key, body, options = {}) => {
      const address = `${bucket}/${key}`;
      await store.before('put', address);
      const chunks: Uint8Array[] = [];
      if (body instanceof Uint8Array) chunks.push(body);
      else for await (const chunk of body as AsyncIterable<Uint8Array>) chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      const there = objects.get(address);
      const fits = options.ifMatch === undefined || options.ifMatch === there?.info.etag;
      if (!fits || (options.ifNoneMatch === '*' && there !== undefined)) {
        throw new AppError('precondition_failed', 'another state');
      }
      states += 1;
      const etag = `${createHash('md5').update(bytes).digest('hex')}-${states}`;
      const info: ObjectHead = {
        bucket,
        key,
        size: bytes.length,
        etag,
        identity: etag,
        lastModified: states,
        changedAt: states,
        contentType: options.contentType ?? 'application/octet-stream',
        metadata: options.metadata ?? {},
      };
      objects.set(address, { info, bytes });
      return info;
    },
  };
  return store;
}
