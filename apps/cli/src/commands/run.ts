import type { RunFilter } from '../api/routes.ts';
import type { WireRun } from '../api/wire.ts';
import { usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { stateText } from '../format/colors.ts';
import { agoText, durationText } from '../format/quantity.ts';
import { tableText } from '../format/table.ts';
import { oneLine, shorten } from '../format/text.ts';
import { objectPath, runDuration, runText } from '../runs/describe.ts';
import { followRun, parseCount, waitDeadline, withTail } from '../runs/follow.ts';
import { lastLogLines, linesOf, logBytes } from '../runs/log.ts';
import { parseRemote } from '../files/remote-path.ts';
import { note } from '../say.ts';
import { serviceNamed } from './service.ts';

export interface ListOptions {
  readonly state?: string;
  readonly input?: string;
  readonly limit: string;
}

const maxListed = 1_000_000;
const pageSize = 1000;

export async function listRuns(
  context: Context,
  service: string | undefined,
  options: ListOptions,
): Promise<ExitCode> {
  const limit = parseCount(options.limit, '--limit', 1, maxListed);
  const filter = filterOf(service, options);
  const { json } = context;
  if (json !== undefined) {
    await json.list('runs', async (add) => {
      let count = 0;
      const next = await eachRun(context, filter, limit, (run) => {
        count += 1;
        return add(run.raw);
      });
      if (count === 0) await requireService(context, service);
      return next === undefined ? undefined : { next };
    });
    return exitCodes.ok;
  }
  const runs: WireRun[] = [];
  const next = await eachRun(context, filter, limit, (run) => {
    runs.push(run);
    return Promise.resolve();
  });
  if (runs.length === 0) {
    await requireService(context, service);
    await note(context, 'No runs.');
    return exitCodes.ok;
  }
  await context.io.out(`${runTable(context, runs)}\n`);
  if (next !== undefined) await note(context, `There are older ones: --limit shows more than ${limit}.`);
  return exitCodes.ok;
}

/** No runs of a service: there may be no such service. One that was deleted can have runs left. */
async function requireService(context: Context, service: string | undefined): Promise<void> {
  if (service !== undefined) await serviceNamed(context, service);
}

function filterOf(service: string | undefined, options: ListOptions): RunFilter {
  const { state, input } = options;
  const object = input === undefined ? undefined : parseRemote(input);
  if (object?.key === '') throw usageError('--input has to name one object: BUCKET/PATH');
  return {
    ...(service === undefined ? {} : { service }),
    ...(state === undefined ? {} : { state }),
    ...object,
  };
}

/** @returns where more runs begin, when the limit cut the list */
async function eachRun(
  context: Context,
  filter: RunFilter,
  limit: number,
  take: (run: WireRun) => Promise<void>,
): Promise<string | undefined> {
  let left = limit;
  let cursor: string | undefined;
  do {
    const page = await context.api.runs(filter, Math.min(left, pageSize), cursor);
    for (const run of page.items) await take(run);
    left -= page.items.length;
    cursor = page.next;
  } while (cursor !== undefined && left > 0);
  return cursor;
}

function runTable(context: Context, runs: readonly WireRun[]): string {
  const now = context.now();
  const rows = runs.map((run) => [
    oneLine(run.id),
    oneLine(run.service),
    stateText(context.colors, run.state),
    agoText(run.createdAt, now),
    durationText(runDuration(run, now)),
    run.input === undefined ? '-' : shorten(oneLine(objectPath(run.input)), 60),
  ]);
  const columns = ['RUN', 'SERVICE', 'STATE', 'CREATED', 'TOOK', 'INPUT'].map((title) => ({ title }));
  return tableText(columns, rows);
}

const shownLogLines = 20;

export async function showRun(context: Context, id: string): Promise<ExitCode> {
  const run = await context.api.run(id);
  const tail = run.state === 'failed' ? await lastLogLines(context, id, shownLogLines) : [];
  if (context.json !== undefined) {
    await context.json.document(withTail(run, tail));
    return exitCodes.ok;
  }
  const lines =
    tail.length === 0 ? [] : ['', 'last lines of the log:', ...tail.map((line) => `  ${oneLine(line)}`)];
  await context.io.out(`${[runText(run, context.now(), context.colors), ...lines].join('\n')}\n`);
  return exitCodes.ok;
}

export interface LogOptions {
  readonly follow?: boolean;
  readonly timestamps?: boolean;
}

/** What a run has printed, byte for byte. With `--json`: a line for each of its lines. */
export async function showLog(context: Context, id: string, options: LogOptions): Promise<ExitCode> {
  const query = { id, timestamps: options.timestamps === true };
  const follow =
    options.follow === true ? { sleep: context.sleep, deadline: waitDeadline(context) } : undefined;
  const bytes = logBytes(context, query, follow);
  const { json } = context;
  if (json === undefined) {
    for await (const chunk of bytes) await context.io.out(chunk);
  } else if (follow === undefined) {
    await json.list('lines', async (add) => {
      for await (const line of linesOf(bytes)) await add(line);
      return { run: id };
    });
  } else {
    for await (const line of linesOf(bytes)) await json.line({ line });
  }
  return exitCodes.ok;
}

/** Each is cancelled, or the first that can't be ends the command. */
export async function cancelRuns(context: Context, ids: readonly string[]): Promise<ExitCode> {
  const runs: WireRun[] = [];
  for (const id of ids) {
    const run = await context.api.cancelRun(id);
    runs.push(run);
    await note(
      context,
      `${oneLine(run.id)} ${run.state === 'cancelled' ? 'is cancelled' : 'is being cancelled'}`,
    );
  }
  await context.json?.document({ runs: runs.map(({ raw }) => raw) });
  return exitCodes.ok;
}

/** A new run with the input of one that has ended. Its id is the result. */
export async function retryRun(
  context: Context,
  id: string,
  options: { readonly wait?: boolean },
): Promise<ExitCode> {
  const run = await context.api.retryRun(id);
  if (options.wait === true) {
    await note(context, `run ${run.id}`);
    return await followRun(context, run.id);
  }
  if (context.json === undefined) await context.io.out(`${oneLine(run.id)}\n`);
  else await context.json.document(run.raw);
  return exitCodes.ok;
}
