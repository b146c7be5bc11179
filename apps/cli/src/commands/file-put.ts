import { stat } from 'node:fs/promises';
import type { JsonRecord, WireRun } from '../api/wire.ts';
import { CliError, systemCode, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { createSlots, forEachLimit } from '../files/concurrency.ts';
import { createProgress, type Progress, type Total } from '../files/progress.ts';
import { parseRemote } from '../files/remote-path.ts';
import { planSources, type Source, type SourcePlan } from '../files/sources.ts';
import { knownRuns, waitForStartedRuns, type ObjectName } from '../files/started-runs.ts';
import { allInputFolders, keyOf, resolveTarget, servicesFor, type Target } from '../files/target.ts';
import { uploadFile } from '../files/upload.ts';
import { bytesText } from '../format/quantity.ts';
import { oneLine } from '../format/text.ts';
import { errorDocument, type AddItem } from '../output.ts';
import { objectPath } from '../runs/describe.ts';
import { failureBlock, parseCount, waitDeadline, withTail } from '../runs/follow.ts';
import { lastLogLines } from '../runs/log.ts';
import type { Deadline } from '../runs/wait.ts';

export interface PutOptions {
  readonly wait?: boolean;
  readonly parallel: string;
  readonly contentType?: string;
}

/** Uploaded files whose runs are waited for while others are uploaded. */
const maxWaiting = 64;
const tailLines = 10;

interface Put {
  readonly context: Context;
  readonly options: PutOptions;
  readonly target: Target;
  readonly progress: Progress;
  readonly deadline: Deadline;
  readonly upload: <T>(task: () => Promise<T>) => Promise<T>;
  readonly add: AddItem;
  /** The server's services, where it is to be waited for their runs. */
  readonly services: readonly JsonRecord[];
  /** How each file ended. */
  readonly endings: Set<ExitCode>;
}

/**
 * Uploads files, folders and globs, several at once. With `wait`: until the runs that each object has started have ended; their outputs are the
 * result. One file's failure does not stop the others.
 */
export async function putFiles(
  context: Context,
  args: readonly string[],
  options: PutOptions,
): Promise<ExitCode> {
  const parallel = parseCount(options.parallel, '--parallel', 1, 64);
  const sources = args.slice(0, -1);
  const remote = parseRemote(args.at(-1) ?? '');
  if (sources.length === 0) throw usageError('Nothing to upload', 'sluice file put FILE… BUCKET/PATH');
  const shown: { progress?: Progress } = {};
  // While files are only counted, nothing is said yet.
  const skipped = async (file: string, why: string): Promise<void> =>
    await shown.progress?.note(`skipped ${oneLine(file)}: ${why}`);
  const plan = await planSources(context.cwd, sources, skipped);
  const target = await resolveTarget(context.api, remote, plan.isSingle);
  const progress = await createProgress(context, () => totalOf(plan));
  shown.progress = progress;
  const services = options.wait === true ? await context.api.services() : [];
  const endings = new Set<ExitCode>();
  const work = async (add: AddItem): Promise<undefined> => {
    const put: Put = {
      context,
      options,
      target,
      progress,
      deadline: waitDeadline(context),
      upload: createSlots(parallel),
      add,
      endings,
      services,
    };
    const limit = options.wait === true ? parallel + maxWaiting : parallel;
    await forEachLimit(distinct(plan, target), limit, (source) => putOne(put, source));
  };
  try {
    if (context.json === undefined) await work(() => Promise.resolve());
    else await context.json.list('files', work);
  } finally {
    progress.stop();
  }
  return worst(endings);
}

async function totalOf(plan: SourcePlan): Promise<Total> {
  let files = 0;
  let bytes = 0;
  for await (const { file } of plan.files()) {
    files += 1;
    bytes += (await stat(file).catch(ignoreMissing))?.size ?? 0;
  }
  return { files, bytes };
}

/** The upload itself reports it. */
function ignoreMissing(error: unknown): undefined {
  if (systemCode(error) === undefined) throw error;
}

/** @throws CliError when two files would become one object */
async function* distinct(plan: SourcePlan, target: Target): AsyncGenerator<Source> {
  const seen = new Map<string, string>();
  for await (const source of plan.files()) {
    const key = keyOf(target, source.name);
    const other = seen.get(key);
    if (other !== undefined && other !== source.file) {
      throw usageError(`${other} and ${source.file} would both become ${target.bucket}/${key}`);
    }
    seen.set(key, source.file);
    yield source;
  }
  if (seen.size === 0) throw usageError('There is no file to upload');
}

async function putOne(put: Put, source: Source): Promise<void> {
  const { context, target, progress } = put;
  const object = { bucket: target.bucket, key: keyOf(target, source.name) };
  const where = oneLine(objectPath(object));
  try {
    const services = put.options.wait === true ? servicesOf(put, object) : [];
    const { known, uploaded } = await put.upload(async () => ({
      known: services.length === 0 ? new Set<string>() : await knownRuns(context.api, object),
      uploaded: await uploadFile(
        context.api,
        { file: source.file, ...object, contentType: put.options.contentType },
        progress.bytes,
      ),
    }));
    await progress.file(`${oneLine(source.name)} → ${where} (${bytesText(uploaded.size)})`);
    const document = { file: source.file, ...object, ...uploaded };
    if (services.length === 0) {
      put.endings.add(exitCodes.ok);
      await put.add(document);
      return;
    }
    const runs = await waitForStartedRuns({ ...context, deadline: put.deadline }, object, services, known);
    await put.add({ ...document, runs: await Promise.all(runs.map((run) => reportRun(put, where, run))) });
  } catch (error) {
    if (!(error instanceof CliError) || endsAll(error)) throw error;
    put.endings.add(error.exitCode);
    await progress.note(
      `${context.errColors.red('failed')} ${where}: ${oneLine(error.message)}${error.hint === undefined ? '' : ` ${oneLine(error.hint)}`}`,
    );
    await put.add({ file: source.file, ...object, error: errorDocument(error) });
  }
}

/** Without a server, or without its leave, no other file will fare better. */
function endsAll(error: CliError): boolean {
  return error.exitCode === exitCodes.unreachable || error.exitCode === exitCodes.unauthenticated;
}

/** @throws CliError where nothing would run: waiting would never end */
function servicesOf(put: Put, object: ObjectName): string[] {
  const services = servicesFor(put.services, object.bucket, object.key);
  if (services.length > 0) return services;
  throw new CliError(
    exitCodes.failed,
    `No service has ${objectPath(object)} below its input path; it was not uploaded.`,
    {
      code: 'no_service',
      hint: inputsHint(put.services),
    },
  );
}

function inputsHint(services: readonly JsonRecord[]): string {
  const folders = allInputFolders(services);
  const shown = folders.slice(0, 5).map(oneLine).join(', ') + (folders.length > 5 ? ', …' : '');
  return folders.length === 0
    ? 'There is none with an input path: sluice apply FILE makes one.'
    : `Runs start below: ${shown}`;
}

/** Outputs as the result, or why there are none. @returns the run's document */
async function reportRun(put: Put, where: string, run: WireRun): Promise<unknown> {
  const { context, progress } = put;
  for (const output of run.outputs) {
    if (context.json === undefined) await progress.result(oneLine(objectPath(output)));
  }
  if (run.state === 'succeeded') {
    put.endings.add(exitCodes.ok);
    if (run.outputs.length === 0)
      await progress.note(`${where}: ${oneLine(run.id)} succeeded without an output`);
    return run.raw;
  }
  put.endings.add(exitCodes.runFailed);
  const tail = await lastLogLines(context, run.id, tailLines);
  await progress.note(`${where}: ${failureBlock(context, run, tail).trimEnd()}`);
  return withTail(run, tail);
}

/** One exit code for many files: what kept a file from being uploaded counts before what became of those that were. */
function worst(endings: ReadonlySet<ExitCode>): ExitCode {
  const order = [
    exitCodes.failed,
    exitCodes.notFound,
    exitCodes.usage,
    exitCodes.timedOut,
    exitCodes.runFailed,
  ];
  return order.find((code) => endings.has(code)) ?? exitCodes.ok;
}
