import type { ServiceSecrets } from '../contracts/index.ts';
import { AppError, isAppError } from '../errors/index.ts';
import { secretsContext } from './definition-rules.ts';
import { packText, unpackText } from './nats-definition-record.ts';
import { type NatsDefinitions, secretsKey, type SecretsOf } from './nats-definition-reads.ts';
import { readAll } from './nats-kv-feed.ts';
import { type SecretBox, sealedWith } from './secret-box.ts';

export interface NatsSecrets {
  /** @returns the revision, for `discard` */
  write(of: SecretsOf, secrets: ServiceSecrets): Promise<number>;
  /** What is written and not referred to after all; must not reject. */
  discard(revision: number): Promise<void>;
  read(of: SecretsOf): Promise<ServiceSecrets | undefined>;
  reencrypt(): Promise<number>;
}

export function createNatsSecrets(parts: NatsDefinitions): NatsSecrets {
  const { nats, sealed } = parts;
  const pack = async (text: string): Promise<Uint8Array> =>
    packText(text, 'Its secrets', nats.connection.info?.max_payload ?? 0);
  return {
    write: async ({ uid, version, secrets: nonce }, secrets) => {
      const text = boxOf(parts).seal(JSON.stringify(secrets), secretsContext(uid, version));
      return sealed.put(secretsKey({ uid, version, secrets: nonce }), await pack(text));
    },
    discard: async (revision) => {
      try {
        await sealed.erase(revision);
      } catch {
        // Taken away with the other remains later.
      }
    },
    read: async (of) => {
      const box = boxOf(parts);
      const entry = await sealed.get(secretsKey(of));
      if (entry === undefined) return undefined;
      return JSON.parse(
        box.open(unpackText(entry.value), secretsContext(of.uid, of.version)),
      ) as ServiceSecrets;
    },
    reencrypt: async () => {
      const box = boxOf(parts);
      let rewritten = 0;
      for (const { key, revision, value } of await readAll(nats, sealed, { values: true })) {
        const text = value === undefined ? undefined : unpackText(value);
        if (text === undefined || sealedWith(text) === box.keyId) continue;
        const [uid = '', version = ''] = key.split('.');
        const context = secretsContext(uid, Number(version));
        const fresh = await pack(box.seal(box.open(text, context), context));
        if (await overtake(async () => sealed.write(key, fresh, revision))) rewritten += 1;
      }
      return rewritten;
    },
  };
}

/** @returns false where another process has rewritten or removed it meanwhile */
async function overtake(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    if (isAppError(error, 'precondition_failed')) return false;
    throw error;
  }
}

function boxOf({ box }: NatsDefinitions): SecretBox {
  if (box !== undefined) return box;
  throw new AppError(
    'unsupported',
    'This process has no key for the secrets of services: set SLUICE_SECRETS_KEY.',
  );
}
