import type { WireBuild } from '../api/build-wire.ts';
import type { Context } from '../context.ts';
import { stateText } from '../format/colors.ts';
import { oneLine } from '../format/text.ts';
import { waitDeadline } from '../runs/follow.ts';
import { buildFailureText } from './describe.ts';
import { buildLogLines, lastBuildLines } from './log.ts';
import type { BuildView } from './view.ts';
import { waitForBuild } from './wait.ts';

const logLines = 20;

/** Waits for a build's end, shown in a view. @param name what it is for */
export async function followBuild(
  context: Context,
  id: string,
  view: BuildView,
  name: string,
): Promise<WireBuild> {
  const { api, sleep } = context;
  const onBuild = (build: WireBuild): Promise<void> => view.show(name, build);
  return await waitForBuild({ api, sleep, deadline: waitDeadline(context), onBuild }, id);
}

/** The same of the only build, with what it prints where a person watches. */
export async function followOne(context: Context, id: string, view: BuildView): Promise<WireBuild> {
  const { api, sleep } = context;
  const isWatched = context.json === undefined && context.io.errIsTty;
  let next = 0;
  const onBuild = async (build: WireBuild): Promise<void> => {
    await view.show('', build);
    if (!isWatched) return;
    const lines: string[] = [];
    for await (const { line, offset } of buildLogLines(context, id, next)) {
      lines.push(line);
      next = offset;
    }
    await view.printed(lines);
  };
  return await waitForBuild({ api, sleep, deadline: waitDeadline(context), onBuild }, id);
}

/** The end of the log of a build that made no image. */
export async function failureTail(context: Context, build: WireBuild): Promise<readonly string[]> {
  return build.state === 'succeeded' ? [] : await lastBuildLines(context, build.id, logLines);
}

/** `failed <id>: requirements_failed: …` and the last lines of the log, for stderr. @param name what it was for */
export function buildFailureBlock(
  context: Context,
  build: WireBuild,
  tail: readonly string[],
  name = '',
): string {
  const log = tail.length === 0 ? '' : '; the last lines of its log:';
  const what = `${name === '' ? '' : `${oneLine(name)}: `}${stateText(context.errColors, oneLine(build.state))}`;
  const head = `${what} ${oneLine(build.id)}: ${buildFailureText(build)}${log}`;
  return `${[head, ...tail.map((line) => `  | ${oneLine(line)}`)].join('\n')}\n`;
}
