export { createSqliteBus, type BusLimits, type SqliteBusOptions } from './sqlite-bus.ts';
export { openDatabase, type Database, type DatabaseOptions } from './sqlite-database.ts';
export {
  createSqliteDefinitionStore,
  type SqliteDefinitionStore,
  type SqliteDefinitionStoreOptions,
} from './sqlite-definition-store.ts';
export { createSqliteRunLedger, type SqliteRunLedgerOptions } from './sqlite-run-ledger.ts';
export { createSqliteSettings } from './sqlite-settings.ts';
export { createSqliteObjectIndex } from './folder-index-sqlite.ts';
export {
  createFolderObjectStore,
  type FolderObjectStore,
  type FolderObjectStoreDeps,
  type ObjectWritten,
} from './folder-object-store.ts';
export { createFolderRunLogs, type FolderRunLogsDeps } from './folder-run-logs.ts';
export { createObjectRunLogs, type ObjectRunLogsDeps } from './object-run-logs.ts';
export { createPresigner, type PresignGrant, type Presigner, type SignedRequest } from './presign.ts';
export { stripLogTimes } from './folder-log-lines.ts';
export type { ObjectIndex, ObjectRecord, ObjectStateRef } from './folder-index.ts';
export { createS3ObjectStore, type S3ObjectStore, type S3ObjectStoreDeps } from './s3-object-store.ts';
export {
  createAssumeRole,
  type AssumeRole,
  type AssumeRoleDeps,
  type SessionKeys,
} from './s3-assume-role.ts';
export { createS3BucketRules, type S3BucketRules, type S3BucketRulesDeps } from './s3-bucket-rules.ts';
export type { S3Connection } from './s3-client.ts';
export { createLeanS3Store, type LeanS3Options, type LeanS3Store, type S3Keys } from './s3-lite.ts';
export { s3Faults, s3Settings, type S3Settings } from './s3-settings.ts';
export type { S3Listen, S3ListenHandlers } from './s3-listen.ts';
export { natsSettings, openNats, type Nats, type NatsOptions } from './nats-connection.ts';
export { createRegistryLogins, type RegistryLogin, type RegistryLogins } from './registry-logins.ts';
export {
  createRegistryClient,
  type ImageFacts,
  type RegistryClient,
  type RegistryClientDeps,
} from './registry-client.ts';
export type { ImageDetails } from './registry-details.ts';
export { isPrivateHost } from './registry-hosts.ts';
export {
  createRegistryPushProbe,
  type RegistryPushProbe,
  type RegistryPushProbeDeps,
} from './registry-probe.ts';
export { createImageFactsCache, type ImageFactsCacheOptions } from './image-facts-cache.ts';
export {
  createNatsDefinitionStore,
  dropNatsDefinitionStore,
  type NatsDefinitionStore,
} from './nats-definition-store.ts';
export type { NatsDefinitionStoreOptions } from './nats-definition-reads.ts';
export { createNatsSettings, dropNatsSettings } from './nats-settings.ts';
export type { NatsKvOptions } from './nats-kv.ts';
export {
  createSecretBox,
  masterKeyOf,
  type MasterKey,
  parseSecretKeys,
  type SecretBox,
  type SecretBoxOptions,
  secretKeys,
} from './secret-box.ts';
export {
  openRedis,
  openRedisClient,
  type RedisClient,
  type RedisConnection,
  type RedisConnectionOptions,
  redisScript,
  type RedisScript,
} from './redis-connection.ts';
export { createRedisLeases, type RedisLeasesOptions } from './redis-leases.ts';
export { createRedisRunLedger, type RedisRunLedgerOptions } from './redis-run-ledger.ts';
export { createNatsBus, type NatsBusOptions } from './nats-bus.ts';
export type { NatsBusLimits } from './nats-streams.ts';
export { readHttpDate, type HttpDateOptions } from './http-date.ts';
export { natsLooks, type NatsLooksDeps } from './nats-looks.ts';
export { redisLooks, type RedisLooksDeps } from './redis-looks.ts';
export {
  assumeRoleLook,
  bucketRulesLook,
  openS3Looks,
  type RulesLookDeps,
  type S3Looks,
  type S3LooksDeps,
} from './s3-looks.ts';
