import { logsPrefix, runsPrefix, type ServiceDefinition, type StorageIO } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { splitPath, SYSTEM_BUCKET, type BucketPath } from '@sluice/shared/stores';

type Described = Pick<
  ServiceDefinition,
  'name' | 'input' | 'output' | 'mount' | 'isolation_level' | 'bucket_list'
>;

interface Statement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition?: { readonly StringLike: { readonly 's3:prefix': readonly string[] } };
}

/** What S3 servers take; MinIO, too. */
export const maxPolicyBytes = 2048;

const reading = ['s3:GetObject', 's3:GetObjectVersion'];
const writing = ['s3:PutObject', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts'];
const eventKeys = 'events/';
/** Whoever knows the name of an event may look it up; nobody can ask which there are. Its name is a SHA-256 in hex. */
const oneEvent = `${eventKeys}${'?'.repeat(64)}`;

/**
 * What the pods of a service may do on the S3 server, as a session policy: read its inputs and outputs, write its outputs, read events, and keep
 * what belongs to its runs. Listing goes with it, since only a listing tells an object's exact time of writing.
 * @throws AppError `invalid_input` for a path that a policy cannot say exactly, `too_large` past `maxPolicyBytes`
 */
export function storagePolicy(definition: Described): string {
  const inputs = pathsOf(definition, definition.input, 'input');
  const outputs = pathsOf(definition, definition.output, 'output');
  const mounts = definition.mount.path.trim() === '' ? [] : pathsOf(definition, [definition.mount], 'mount');
  const own = [runsPrefix(definition.name), logsPrefix(definition.name)].map((prefix) => ({
    bucket: SYSTEM_BUCKET,
    prefix,
  }));
  const written = covering([...outputs, ...mounts, ...own]);
  const read = covering([...inputs, ...written]);
  const statements = [
    allow(reading, [...read.map(objectsBelow), objectsBelow({ bucket: SYSTEM_BUCKET, prefix: eventKeys })]),
    allow(writing, written.map(objectsBelow)),
    ...listing(read),
  ];
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: statements });
  const size = Buffer.byteLength(policy);
  if (size > maxPolicyBytes) {
    throw new AppError(
      'too_large',
      `The input and output paths of the service ${definition.name} are too many or too long for short-lived storage keys: their policy has ${size} bytes, ${maxPolicyBytes} are possible. Use fewer or shorter paths.`,
    );
  }
  return policy;
}

function allow(actions: readonly string[], resources: readonly string[]): Statement {
  return { Effect: 'Allow', Action: actions, Resource: resources };
}

function objectsBelow({ bucket, prefix }: BucketPath): string {
  return `arn:aws:s3:::${bucket}/${prefix}*`;
}

function listing(paths: readonly BucketPath[]): readonly Statement[] {
  const buckets = new Map<string, string[]>([[SYSTEM_BUCKET, [oneEvent]]]);
  for (const { bucket, prefix } of paths) buckets.set(bucket, [...(buckets.get(bucket) ?? []), `${prefix}*`]);
  return [...buckets].map(([bucket, prefixes]) => {
    const statement = allow(['s3:ListBucket'], [`arn:aws:s3:::${bucket}`]);
    // A listing of the whole bucket names no prefix, which no pattern matches.
    return prefixes.includes('*')
      ? statement
      : { ...statement, Condition: { StringLike: { 's3:prefix': prefixes } } };
  });
}

/** Paths in this installation's own store; where users are kept apart, the same folders in their buckets. */
function pathsOf(definition: Described, list: readonly StorageIO[], field: string): readonly BucketPath[] {
  const paths: BucketPath[] = [];
  for (const [at, { storage_provider: provider, path }] of list.entries()) {
    if (!/^minio(?:\.default)?$/i.test(provider)) continue;
    const place = field === 'mount' ? 'mount.path' : `${field}[${at}].path`;
    const { bucket, prefix } = splitPath(path, place);
    checkExact(prefix, place);
    paths.push({ bucket, prefix });
    if (definition.isolation_level.toUpperCase() !== 'USER') continue;
    for (const own of definition.bucket_list)
      paths.push({ bucket: splitPath(own, 'bucket_list').bucket, prefix });
  }
  return paths;
}

/** In a policy these are patterns and variables. AWS can write them as such, MinIO can not: the keys would open more than the path. */
function checkExact(prefix: string, field: string): void {
  if (!/[*?]|\$\{/.test(prefix)) return;
  throw new AppError(
    'invalid_input',
    `${field} has "*", "?" or "\${" in it; short-lived storage keys cannot be limited to such a path. Rename the folder.`,
    {
      field,
    },
  );
}

/** Those that are in no other, each once, in order. */
function covering(paths: readonly BucketPath[]): readonly BucketPath[] {
  const kept: BucketPath[] = [];
  const sorted = paths.toSorted((a, b) => compare(a.bucket, b.bucket) || compare(a.prefix, b.prefix));
  for (const path of sorted) {
    const last = kept.at(-1);
    if (last?.bucket !== path.bucket || !path.prefix.startsWith(last.prefix)) kept.push(path);
  }
  return kept;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
