import type { Api } from '../api/routes.ts';
import { isFinal, type WireRun } from '../api/wire.ts';
import { CliError } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';

/** The end of all waiting in one command. */
export interface Deadline {
  /** Milliseconds left, at least 0. */
  left(): number;
}

export function deadlineAfter(ms: number, now: () => number): Deadline {
  const end = now() + ms;
  return { left: () => Math.max(0, end - now()) };
}

const firstPauseMs = 100;
const maxPauseMs = 2000;

/** Pauses between questions to the server: short at first, since most runs are, then longer. */
export function createPauses(
  deadline: Deadline,
  sleep: (ms: number) => Promise<void>,
): () => Promise<boolean> {
  let pause = firstPauseMs;
  /** False once the deadline has passed. */
  return async () => {
    const left = deadline.left();
    if (left === 0) return false;
    await sleep(Math.min(pause, left));
    pause = Math.min(maxPauseMs, pause * 1.5);
    return true;
  };
}

export interface WaitDeps {
  readonly api: Pick<Api, 'run'>;
  readonly sleep: (ms: number) => Promise<void>;
  readonly deadline: Deadline;
  /** Told of each state that is seen. */
  readonly onState?: (run: WireRun) => Promise<void>;
}

/** @throws CliError `timed_out` when the run goes on past the deadline */
export async function waitForRun(deps: WaitDeps, id: string): Promise<WireRun> {
  const pause = createPauses(deps.deadline, deps.sleep);
  let seen: string | undefined;
  for (;;) {
    const run = await deps.api.run(id);
    if (run.state !== seen) await deps.onState?.(run);
    seen = run.state;
    if (isFinal(run)) return run;
    if (!(await pause())) throw stillGoing(run);
  }
}

export function stillGoing(run: WireRun): CliError {
  return new CliError(exitCodes.timedOut, `The run ${run.id} is still ${run.state}.`, {
    code: 'timed_out',
    hint: `It goes on. Follow it with: sluice run logs -f ${run.id}   Wait longer with --timeout.`,
  });
}
