import { isEnded, type WireBuild, type WireLogLine } from '../api/build-wire.ts';
import { buildDuration, buildText } from '../builds/describe.ts';
import { failureTail } from '../builds/follow.ts';
import { buildLogLines } from '../builds/log.ts';
import { textIn } from '../api/wire.ts';
import { CliError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { stateText } from '../format/colors.ts';
import { agoText, durationText } from '../format/quantity.ts';
import { tableText } from '../format/table.ts';
import { oneLine } from '../format/text.ts';
import { parseCount, waitDeadline } from '../runs/follow.ts';
import { createPauses } from '../runs/wait.ts';
import { note } from '../say.ts';

export interface BuildListOptions {
  readonly state?: string;
  readonly limit: string;
}

const maxListed = 100_000;
const pageSize = 100;

export async function listBuilds(context: Context, options: BuildListOptions): Promise<ExitCode> {
  const limit = parseCount(options.limit, '--limit', 1, maxListed);
  if (context.json !== undefined) {
    await context.json.list('builds', async (add) => {
      const next = await eachBuild(context, options.state, limit, (build) => add(build.raw));
      return next === undefined ? undefined : { next };
    });
    return exitCodes.ok;
  }
  const builds: WireBuild[] = [];
  const next = await eachBuild(context, options.state, limit, (build) => {
    builds.push(build);
    return Promise.resolve();
  });
  if (builds.length === 0) {
    await note(context, 'No builds.');
    return exitCodes.ok;
  }
  await context.io.out(`${buildTable(context, builds)}\n`);
  if (next !== undefined) await note(context, `There are older ones: --limit shows more than ${limit}.`);
  return exitCodes.ok;
}

/** @returns where more builds begin, when the limit cut the list */
async function eachBuild(
  context: Context,
  state: string | undefined,
  limit: number,
  take: (build: WireBuild) => Promise<void>,
): Promise<string | undefined> {
  let left = limit;
  let after: string | undefined;
  do {
    const query = { limit: Math.min(left, pageSize), ...(state === undefined ? {} : { state }) };
    const page = await context.api.builds(query, after);
    for (const build of page.items) await take(build);
    left -= page.items.length;
    after = page.next;
  } while (after !== undefined && left > 0);
  return after;
}

function buildTable(context: Context, builds: readonly WireBuild[]): string {
  const now = context.now();
  const rows = builds.map((build) => [
    oneLine(build.id),
    oneLine(build.kind ?? '-'),
    stateText(context.colors, oneLine(build.state)),
    agoText(build.createdAt, now),
    build.reused ? 'reused' : durationText(buildDuration(build, now)),
    oneLine(build.target ?? '-'),
  ]);
  const columns = ['BUILD', 'KIND', 'STATE', 'CREATED', 'TOOK', 'TARGET'].map((title) => ({ title }));
  return tableText(columns, rows);
}

export async function showBuild(context: Context, id: string): Promise<ExitCode> {
  const build = await context.api.build(id);
  const tail = build.state === 'failed' ? await failureTail(context, build) : [];
  if (context.json !== undefined) {
    await context.json.document(tail.length === 0 ? build.raw : { ...build.raw, log_tail: tail });
    return exitCodes.ok;
  }
  const lines =
    tail.length === 0 ? [] : ['', 'last lines of the log:', ...tail.map((line) => `  ${oneLine(line)}`)];
  await context.io.out(`${[buildText(build, context.now(), context.colors), ...lines].join('\n')}\n`);
  return exitCodes.ok;
}

export interface BuildLogOptions {
  readonly follow?: boolean;
}

/** What a build has printed, line by line. With `--json`: what the server says of each. */
export async function showBuildLog(
  context: Context,
  id: string,
  options: BuildLogOptions,
): Promise<ExitCode> {
  const { json } = context;
  // One that there is not is said to be so; one that has printed nothing is not.
  const build = await context.api.build(id);
  const lines = options.follow === true ? followLines(context, build) : buildLogLines(context, id);
  if (json === undefined) {
    for await (const { line } of lines) await context.io.out(`${printable(line)}\n`);
  } else if (options.follow === true) {
    for await (const { raw } of lines) await json.line(raw);
  } else {
    await json.list('lines', async (add) => {
      for await (const { raw } of lines) await add(raw);
      return { build: id };
    });
  }
  return exitCodes.ok;
}

/** @throws CliError `timed_out` once the deadline has passed */
async function* followLines(context: Context, first: WireBuild): AsyncGenerator<WireLogLine> {
  const deadline = waitDeadline(context);
  let pause = createPauses(deadline, context.sleep);
  let next = 0;
  for (let build = first; ; build = await context.api.build(first.id)) {
    const before = next;
    for await (const line of buildLogLines(context, first.id, next)) {
      next = line.offset;
      yield line;
    }
    // It had ended before its log was read to the end.
    if (isEnded(build)) return;
    if (next > before) pause = createPauses(deadline, context.sleep);
    if (!(await pause()))
      throw new CliError(exitCodes.timedOut, `The build ${oneLine(first.id)} still goes on.`, {
        code: 'timed_out',
      });
  }
}

/** Colours and cursors of what ran in the build are its own; line ends are ours. */
function printable(line: string): string {
  return line.replaceAll(/[\r\n]/g, ' ').trimEnd();
}

/** Each is cancelled, or the first that can't be ends the command. */
export async function cancelBuilds(context: Context, ids: readonly string[]): Promise<ExitCode> {
  const builds: WireBuild[] = [];
  for (const id of ids) {
    const build = await context.api.cancelBuild(id);
    builds.push(build);
    const state = build.state === 'cancelled' ? 'is cancelled' : `has ended already: ${oneLine(build.state)}`;
    await note(context, `${oneLine(build.id)} ${state}`);
  }
  await context.json?.document({ builds: builds.map(({ raw }) => raw) });
  return exitCodes.ok;
}

/** Forgets builds that have ended; their images stay. */
export async function cleanBuilds(
  context: Context,
  options: { readonly maxAgeHours: string },
): Promise<ExitCode> {
  const answer = await context.api.cleanBuilds(parseCount(options.maxAgeHours, '--max-age-hours', 0, 87_600));
  if (context.json === undefined) await note(context, oneLine(textIn(answer, 'message') ?? 'done'));
  else await context.json.document(answer);
  return exitCodes.ok;
}
