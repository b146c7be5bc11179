import type { Api } from '../api/routes.ts';
import { isEnded, type WireBuild } from '../api/build-wire.ts';
import { parseRetryAfter } from '../api/retry.ts';
import { CliError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { oneLine } from '../format/text.ts';
import { createPauses, type Deadline } from '../runs/wait.ts';

export interface BuildWait {
  readonly api: Pick<Api, 'build'>;
  readonly sleep: (ms: number) => Promise<void>;
  readonly deadline: Deadline;
  /** Told how it is, again and again. */
  readonly onBuild: (build: WireBuild) => Promise<void>;
}

/** @throws CliError `timed_out` when the build goes on past the deadline */
export async function waitForBuild(deps: BuildWait, id: string): Promise<WireBuild> {
  const pause = createPauses(deps.deadline, deps.sleep);
  for (;;) {
    const build = await deps.api.build(id);
    await deps.onBuild(build);
    if (isEnded(build)) return build;
    if (await pause()) continue;
    throw new CliError(exitCodes.timedOut, `The build ${oneLine(id)} is still ${oneLine(build.state)}.`, {
      code: 'timed_out',
      hint: `It goes on. ${watchHint(id)}   Wait longer with --timeout.`,
    });
  }
}

export function watchHint(id: string): string {
  return `Watch it with: sluice build logs -f ${oneLine(id)}`;
}

/** Work that waits for the builds `open`; on Ctrl-C it is said that they go on. */
export async function whileBuilding<T>(
  context: Context,
  open: ReadonlySet<string>,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (context.signal.aborted) {
      for (const id of open)
        await context.io.err(
          `The build ${oneLine(id)} goes on. ${watchHint(id)}   End it with: sluice build cancel ${oneLine(id)}\n`,
        );
    }
    throw error;
  }
}

const minPauseMs = 500;

/**
 * Asks for a build until there is room in the queue, where the server says that there is none.
 * @param say told what is waited for
 * @throws CliError
 */
export async function askUntilTaken<T>(
  context: Pick<Context, 'now' | 'sleep'>,
  deadline: Deadline,
  ask: () => Promise<T>,
  say: (text: string) => Promise<void>,
): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof CliError) || error.status !== 429) throw error;
      const seconds = parseRetryAfter(error.retryAfter, context.now());
      const pause = Math.max(minPauseMs, (seconds ?? Number.NaN) * 1000);
      // Not begun, and nobody says when it could be; or not in time.
      if (Number.isNaN(pause) || pause >= deadline.left()) throw error;
      await say(`${error.message} Trying again in ${Math.ceil(pause / 1000)} s.`);
      await context.sleep(pause);
    }
  }
}
