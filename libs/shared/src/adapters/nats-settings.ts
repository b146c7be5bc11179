import { AppError } from '../errors/index.ts';
import { maxSettingBytes, type Settings } from '../stores/index.ts';
import { dropBucket, type NatsKvOptions, openBucket } from './nats-kv.ts';

const purpose = 'settings';

/** Settings in a KV bucket of JetStream. */
export async function createNatsSettings(options: NatsKvOptions): Promise<Settings> {
  const bucket = await openBucket(options, purpose);
  return {
    get: async (name) => {
      const entry = await bucket.get(name);
      return entry === undefined ? undefined : Buffer.from(entry.value).toString('utf8');
    },
    set: async (name, value) => {
      if (Buffer.byteLength(value) > maxSettingBytes)
        throw new AppError('too_large', `A setting has at most ${maxSettingBytes} bytes.`, { field: name });
      await bucket.put(name, value);
    },
  };
}

/** Removes the settings of a namespace. */
export async function dropNatsSettings(options: NatsKvOptions): Promise<void> {
  await dropBucket(options, purpose);
}
