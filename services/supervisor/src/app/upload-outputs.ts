import { setImmediate } from 'node:timers/promises';
import type { AttemptOutcome, AttemptPlan, ObjectRef } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectHead, ObjectStore } from '@sluice/shared/stores';
import { AttemptStop } from '../domain/attempt-stop.ts';
import { outputName, planUploads, type OutputTarget, type UploadTask } from '../domain/outputs.ts';
import { printable } from '../domain/text.ts';
import type { InputState } from '../domain/upload-decision.ts';
import { outputSize, type OutputFile, type OutputListing } from '../files/output-files.ts';
import type { AttemptLog } from './attempt-log.ts';
import type { SupervisorLimits } from './limits.ts';
import { uploadFile } from './upload-file.ts';

export interface UploadDeps {
  readonly objects: Pick<ObjectStore, 'head' | 'put'>;
  readonly clock: Clock;
  readonly limits: SupervisorLimits;
  readonly log: AttemptLog;
  readonly signal: AbortSignal;
  readonly plan: Pick<AttemptPlan, 'run_id' | 'hop' | 'traceparent'>;
  /** The object that the outputs are made of, where there is one. */
  readonly input: InputState | undefined;
  readonly outputDir: string;
  /** Called once before the first upload. */
  readonly onUploading: () => void;
}

export type Uploaded = Pick<AttemptOutcome, 'outputs' | 'outputs_omitted'>;

/** Outputs that an outcome names; the others are counted. */
const listedOutputs = 100;

/**
 * Uploads what a script left (OSCAR §7.6), each output once: see `decideUpload`. The first failure ends the others.
 * @throws AttemptStop `output_too_large`, `superseded`, `output_failed`, `store_unavailable`, `storage_full`
 */
export async function uploadOutputs(
  deps: UploadDeps,
  listing: OutputListing,
  targets: readonly OutputTarget[],
): Promise<Uploaded> {
  noteSkipped(deps, listing);
  const tasks = planUploads(listing.files, targets);
  if (tasks.length === 0) return { outputs: [] };
  await refuseTooLarge(deps, tasks);
  deps.onUploading();
  const heads = await uploadAll(deps, tasks);
  const stored = heads.filter((head) => head !== undefined);
  const omitted = stored.length - listedOutputs;
  return {
    outputs: stored.slice(0, listedOutputs).map(objectRef),
    ...(omitted > 0 ? { outputs_omitted: omitted } : {}),
  };
}

/** Files after which others get a turn: looking at one is synchronous (see `makeWorkFolder`). */
const yieldAfter = 256;

/** Before the first byte is uploaded; a file that goes to two places counts twice. */
async function refuseTooLarge(
  { limits }: UploadDeps,
  tasks: readonly UploadTask<OutputFile>[],
): Promise<void> {
  let bytes = 0;
  for (const [index, { file }] of tasks.entries()) {
    bytes += outputSize(file);
    if ((index + 1) % yieldAfter === 0) await setImmediate();
  }
  if (bytes <= limits.outputBytes) return;
  throw new AttemptStop(
    'output_too_large',
    `the outputs have ${bytes} bytes, and one run may upload ${limits.outputBytes} (SLUICE_OUTPUT_LIMIT); nothing was uploaded`,
  );
}

function noteSkipped(deps: UploadDeps, listing: OutputListing): void {
  const { log, limits } = deps;
  if (listing.folderGone) log.line('WARNING', 'the script removed its output folder: there is no output');
  const unnamed = listing.files.filter((file) => outputName(file.name) === '');
  const skipped = [
    ...listing.skipped,
    ...unnamed.map((file) => ({ name: file.name, reason: 'its name is white space only' })),
  ];
  for (const { name, reason } of skipped.slice(0, limits.fileLines)) {
    log.line('WARNING', `the output "${name}" is not uploaded: ${reason}`);
  }
  const more = skipped.length - limits.fileLines;
  if (more > 0) log.line('WARNING', `${more} more outputs are not uploaded`);
}

/** A few at a time; results in the order of the tasks, undefined where the file turned out not to be one. */
async function uploadAll(
  deps: UploadDeps,
  tasks: readonly UploadTask<OutputFile>[],
): Promise<readonly (ObjectHead | undefined)[]> {
  const heads: (ObjectHead | undefined)[] = [];
  const stop = new AbortController();
  const signal = AbortSignal.any([deps.signal, stop.signal]);
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const work = async (): Promise<void> => {
    for (let index = next++; index < tasks.length && !signal.aborted; index = next++) {
      const task = tasks[index];
      if (task === undefined) return;
      const head = await uploadFile({ ...deps, signal }, task);
      heads[index] = head;
      noteUploaded(deps, task, head, index, tasks.length);
      await deps.log.ease();
    }
  };
  const workers = Array.from({ length: Math.min(deps.limits.uploadConcurrency, tasks.length) }, async () => {
    try {
      await work();
    } catch (error) {
      // Of several failures the first is the reason; the others follow from its abort.
      failure ??= { error };
      stop.abort();
    }
  });
  await Promise.all(workers);
  if (failure !== undefined) throw failure.error;
  if (deps.signal.aborted) throw new AttemptStop('cancelled', 'cancelled', { result: 'cancelled' });
  return heads;
}

function noteUploaded(
  deps: UploadDeps,
  task: UploadTask<OutputFile>,
  head: ObjectHead | undefined,
  index: number,
  total: number,
): void {
  if (head !== undefined && index < deps.limits.fileLines) {
    deps.log.line('INFO', `uploaded ${printable(`${task.bucket}/${task.key}`)} (${head.size} bytes)`);
  }
  if (index === deps.limits.fileLines) {
    deps.log.line('INFO', `uploading ${total - index} more outputs`);
  }
}

function objectRef(head: ObjectHead): ObjectRef {
  return {
    bucket: head.bucket,
    key: head.key,
    size: head.size,
    etag: head.etag,
    identity: head.identity,
    ...(head.versionId === undefined ? {} : { version_id: head.versionId }),
    last_modified: head.lastModified,
  };
}
