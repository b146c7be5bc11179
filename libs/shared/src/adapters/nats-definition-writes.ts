import { AppError, isAppError } from '../errors/index.ts';
import { subjectToken } from '../contracts/index.ts';
import type { DefinitionStore, NewDefinition, StoredDefinition } from '../stores/index.ts';
import { checkUpdate, nameTaken, newUid, refuseSecrets, serviceGone } from './definition-rules.ts';
import { type DefinitionRecord, floorsOf, packText, storedOf } from './nats-definition-record.ts';
import type { NatsSecrets } from './nats-definition-secrets.ts';
import {
  type InForce,
  isOutrun,
  nameKey,
  type NatsDefinitions,
  readByName,
  readByUid,
  versionKey,
} from './nats-definition-reads.ts';

/** How often a removal that others outrun is begun again. */
const maxTries = 20;

export function createNatsWrites(
  parts: NatsDefinitions,
  secrets: NatsSecrets,
): Pick<DefinitionStore, 'create' | 'update' | 'remove'> {
  const { clock, random, versions } = parts;
  const now = (): number => Math.floor(clock.now());
  const nonce = (): string => Buffer.from(random(9)).toString('base64url');
  const put = putter(parts, secrets);
  return {
    create: async (input) => {
      refuseSecrets(input.definition);
      const { name } = input.definition;
      if ((await readByName(parts, name)) !== undefined) throw nameTaken(name);
      const [uid, at] = [newUid(random), now()];
      const record = recordOf(input, {
        uid,
        version: 1,
        created_at: at,
        updated_at: at,
        secrets: nonce(),
        before: [],
      });
      return put(record, input, {
        revision: 0,
        prepare: async () => versions.put(nameKey(uid), name),
        outrun: nameTaken(name),
      });
    },
    update: async ({ uid, version }, input) => {
      refuseSecrets(input.definition);
      const before = await readByUid(parts, uid);
      if (before === undefined) throw serviceGone();
      checkUpdate(before.record, version, input);
      const record = recordOf(input, {
        uid,
        version: version + 1,
        created_at: before.record.created_at,
        updated_at: now(),
        secrets: nonce(),
        before: before.record.floors,
      });
      return put(record, input, {
        revision: before.revision,
        prepare: async () => keep(parts, before),
        outrun: changedMeanwhile(input.definition.name),
      });
    },
    remove: async (name) => remove(parts, name),
  };
}

function recordOf(
  input: NewDefinition,
  version: Pick<DefinitionRecord, 'uid' | 'version' | 'created_at' | 'updated_at' | 'secrets'> & {
    readonly before: DefinitionRecord['floors'];
  },
): DefinitionRecord {
  const { before, ...rest } = version;
  const { definition } = input;
  return { name: definition.name, ...rest, definition, floors: floorsOf(before, input, version.version) };
}

/** Copies the version in force to where it stays readable. Whoever does it writes the same. */
async function keep({ versions }: NatsDefinitions, { record, bytes }: InForce): Promise<void> {
  // Written anew where it is there already: the time of the copy is when the version ended.
  await versions.put(versionKey(record.uid, record.version), bytes);
}

interface Step {
  /** Revision of the name's key that this change is made from. */
  readonly revision: number;
  /** What must be there before the change counts. */
  readonly prepare: () => Promise<unknown>;
  /** Told where somebody else was quicker. */
  readonly outrun: AppError;
}

function putter(
  parts: NatsDefinitions,
  secrets: NatsSecrets,
): (record: DefinitionRecord, input: NewDefinition, step: Step) => Promise<StoredDefinition> {
  const { nats, byName } = parts;
  return async (record, input, { revision, prepare, outrun }) => {
    const text = JSON.stringify(record);
    const bytes = await packText(text, 'The definition', nats.connection.info?.max_payload ?? 0);
    const [written] = await Promise.all([secrets.write(record, input.secrets), prepare()]);
    try {
      await byName.write(subjectToken(record.name), bytes, revision);
    } catch (error) {
      // Also where only the answer was lost: the package repeats what nobody seemed to take.
      if (!(await isInForce(parts, record, error))) {
        if (!isOutrun(error)) throw error;
        await secrets.discard(written);
        throw outrun;
      }
    }
    // As a reader gets it: parsed anew, nobody else's object.
    return storedOf(JSON.parse(text) as DefinitionRecord);
  };
}

/** After a write of which it is not known whether it counts. @throws the failure itself where that stays so */
async function isInForce(
  parts: NatsDefinitions,
  record: DefinitionRecord,
  failure: unknown,
): Promise<boolean> {
  let found: InForce | undefined;
  try {
    found = await readByName(parts, record.name);
  } catch {
    throw failure;
  }
  return found?.record.uid === record.uid && found.record.secrets === record.secrets;
}

async function remove(parts: NatsDefinitions, name: string): Promise<StoredDefinition | undefined> {
  for (let tries = 0; tries < maxTries; tries += 1) {
    const found = await readByName(parts, name);
    if (found === undefined) return undefined;
    await keep(parts, found);
    try {
      await parts.byName.remove(found.key, found.revision);
      return storedOf(found.record);
    } catch (error) {
      if (!isAppError(error, 'precondition_failed')) throw error;
    }
  }
  throw changedMeanwhile(name);
}

function changedMeanwhile(name: string): AppError {
  return new AppError(
    'conflict',
    `The service ${name} was changed by somebody else meanwhile; read it again.`,
  );
}
