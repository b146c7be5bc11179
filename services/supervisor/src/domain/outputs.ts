import type { ServiceDefinition, StorageIO } from '@sluice/shared/contracts';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { AttemptStop } from './attempt-stop.ts';
import { printable } from './text.ts';

/** One entry of the definition's `output`, ready to be matched. */
export interface OutputTarget {
  readonly bucket: string;
  /** Without slashes at its ends; empty for the bucket itself. */
  readonly folder: string;
  readonly prefix: readonly string[];
  readonly suffix: readonly string[];
}

/** One file that goes to one key. */
export interface UploadTask<F> {
  readonly file: F;
  readonly bucket: string;
  readonly key: string;
}

/**
 * Where outputs go (OSCAR §7.6): the first segment of `path` is the bucket; with isolation level USER the event's bucket takes
 * its place if it is one of `bucket_list`. Checked before the script runs, so that no work is done in vain.
 * @param eventBucket the bucket of the input, if there is one
 * @throws AttemptStop `unsupported_provider`, `output_failed`
 */
export function outputTargets(
  definition: Pick<ServiceDefinition, 'output' | 'isolation_level' | 'bucket_list'>,
  eventBucket: string | undefined,
): readonly OutputTarget[] {
  const isolated = definition.isolation_level.toUpperCase() === 'USER';
  const own = isolated && eventBucket !== undefined && definition.bucket_list.includes(eventBucket);
  return definition.output.map((output, index) => {
    requireLocalStore(output, index);
    const [first = '', ...rest] = output.path.replaceAll(/^\/+|\/+$/g, '').split('/');
    const bucket = own ? eventBucket : first;
    if (bucket === '' || bucket === SYSTEM_BUCKET) {
      const what =
        bucket === '' ? 'names no bucket' : `names the bucket ${SYSTEM_BUCKET}, which is not for services`;
      throw new AttemptStop('output_failed', `output[${index}].path ${what}`);
    }
    return { bucket, folder: rest.join('/'), prefix: output.prefix ?? [], suffix: output.suffix ?? [] };
  });
}

function requireLocalStore(output: StorageIO, index: number): void {
  const [type = '', ...id] = output.storage_provider.split('.');
  if (type.toLowerCase() === 'minio' && (id.length === 0 || id.join('.') === 'default')) return;
  throw new AttemptStop(
    'unsupported_provider',
    `output[${index}].storage_provider is "${output.storage_provider}"; only minio.default can be written to`,
  );
}

/**
 * Which file goes where, in the order of the outputs and then of the files.
 * @throws AttemptStop `output_failed` where two files would become one object
 */
export function planUploads<F extends { readonly name: string }>(
  files: readonly F[],
  targets: readonly OutputTarget[],
): readonly UploadTask<F>[] {
  const tasks = new Map<string, UploadTask<F>>();
  for (const target of targets) {
    for (const file of files) {
      const name = outputName(file.name);
      if (name === '' || !isWanted(name, target)) continue;
      const key = target.folder === '' ? name : `${target.folder}/${name}`;
      const address = `${target.bucket}/${key}`;
      const other = tasks.get(address);
      if (other !== undefined && other.file !== file) {
        const pair = `"${printable(other.file.name)}" and "${printable(file.name)}"`;
        throw new AttemptStop('output_failed', `the outputs ${pair} would both become ${printable(address)}`);
      }
      tasks.set(address, { file, bucket: target.bucket, key });
    }
  }
  return [...tasks.values()];
}

/** OSCAR §7.6: the path below the output folder, stripped of white space and of leading slashes; empty is not uploaded. */
export function outputName(relativePath: string): string {
  return relativePath.trim().replace(/^\/+/, '');
}

function isWanted(name: string, target: OutputTarget): boolean {
  const starts = target.prefix.length === 0 || target.prefix.some((prefix) => name.startsWith(prefix));
  return starts && (target.suffix.length === 0 || target.suffix.some((suffix) => name.endsWith(suffix)));
}
