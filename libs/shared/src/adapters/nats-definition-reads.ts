import { AppError, isAppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { subjectToken } from '../contracts/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Mirror } from './nats-definition-mirror.ts';
import { type DefinitionRecord, decodeRecord } from './nats-definition-record.ts';
import type { NatsBucket, NatsKvOptions } from './nats-kv.ts';
import type { SecretBox } from './secret-box.ts';

export interface NatsDefinitionStoreOptions extends NatsKvOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Random bytes (`randomBytes` of `node:crypto`), for uids. */
  readonly random: (size: number) => Uint8Array;
  /** For whoever writes definitions or needs their secrets; the rest do without and never see one. */
  readonly box?: SecretBox;
}

/** What the parts of the store share. */
export interface NatsDefinitions extends NatsDefinitionStoreOptions {
  /** By token of the name: the version in force. The one write that makes a change count is the one here. */
  readonly byName: NatsBucket;
  /** By `<uid>.<version>`: versions before they are superseded or removed; by `<uid>.name`: the name. */
  readonly versions: NatsBucket;
  /** By `<uid>.<version>.<random>`, encrypted. */
  readonly sealed: NatsBucket;
  /** By `<uid>.<version that brought it>.<token of the prefix>`: floors that were raised. */
  readonly raised: NatsBucket;
  readonly mirror: Mirror;
}

/** A version in force and where it was read. */
export interface InForce {
  readonly key: string;
  readonly record: DefinitionRecord;
  readonly bytes: Uint8Array;
  readonly revision: number;
}

export async function readByName({ byName }: NatsDefinitions, name: string): Promise<InForce | undefined> {
  const key = subjectToken(name);
  const entry = await byName.get(key);
  if (entry === undefined) return undefined;
  const record = decode(entry.value);
  // A hashed token may be another name's in theory; its service is not this one.
  if (record.name !== name) return undefined;
  return { key, record, bytes: entry.value, revision: entry.revision };
}

/** The version in force of a service. */
export async function readByUid(parts: NatsDefinitions, uid: string): Promise<InForce | undefined> {
  const name = parts.mirror.byUid(uid)?.name ?? (await readName(parts, uid));
  const found = name === undefined ? undefined : await readByName(parts, name);
  return found?.record.uid === uid ? found : undefined;
}

async function readName({ versions }: NatsDefinitions, uid: string): Promise<string | undefined> {
  const entry = await versions.get(nameKey(uid));
  return entry === undefined ? undefined : Buffer.from(entry.value).toString('utf8');
}

/** Any version that is not pruned. A version never changes: wherever it is found, it is right. */
export async function readVersion(
  parts: NatsDefinitions,
  uid: string,
  version: number,
): Promise<DefinitionRecord | undefined> {
  const known = parts.mirror.byUid(uid);
  if (known?.version === version) return decode(known.bytes);
  const key = versionKey(uid, version);
  const kept = await parts.versions.get(key);
  if (kept !== undefined) return decode(kept.value);
  const found = await readByUid(parts, uid);
  if (found?.record.version === version) return found.record;
  // Superseded between the two looks: it was copied before.
  const late = await parts.versions.get(key);
  return late === undefined ? undefined : decode(late.value);
}

export function versionKey(uid: string, version: number): string {
  return `${subjectToken(uid)}.${version}`;
}

/** A version as its secrets refer to it. */
export type SecretsOf = Pick<DefinitionRecord, 'uid' | 'version' | 'secrets'>;

/** Random at its end: two writers of one version do not overwrite each other's. */
export function secretsKey({ uid, version, secrets }: SecretsOf): string {
  return `${subjectToken(uid)}.${version}.${secrets}`;
}

export function nameKey(uid: string): string {
  return `${subjectToken(uid)}.name`;
}

function decode(bytes: Uint8Array): DefinitionRecord {
  try {
    return decodeRecord(bytes);
  } catch (error) {
    throw new AppError('unprocessable', 'A stored definition is damaged; apply the service again.', {
      cause: error,
    });
  }
}

/** Whether somebody else was quicker. */
export function isOutrun(error: unknown): boolean {
  return isAppError(error, 'precondition_failed');
}
