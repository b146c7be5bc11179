import type { RunnerPlan } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Logger } from '@sluice/shared/telemetry';
import type { Reservation, RunnerHost } from '../ports.ts';

/** What has the scripts of one runner run. */
export interface RunnerScripts<Scripts> {
  readonly scripts: Scripts;
  /** Frees what stands behind it (a container). No call is in hand then. */
  close(): Promise<void>;
}

export interface LocalRunnersDeps<Scripts> {
  /** `process`, `container`. */
  readonly kind: string;
  /** Runners at the same time, at most. */
  readonly limit: number;
  /** The runner server of this process. */
  readonly server: {
    open(plan: RunnerPlan, parts: { readonly scripts: Scripts }): { readonly url: string };
    isBusy(runnerId: string): boolean;
    close(runnerId: string, drainMs: number): Promise<void>;
  };
  /**
   * Makes what one runner needs. `signal` is aborted when the runner is not wanted any more, `onExit` says that it works no longer (its
   * container died): the call in hand still ends as it may.
   * @throws AppError with a sentence for people
   */
  readonly scriptsFor: (
    plan: RunnerPlan,
    control: { readonly signal: AbortSignal; readonly onExit: (reason: string) => void },
  ) => Promise<RunnerScripts<Scripts>>;
  readonly log: Logger;
}

/** One runner, from its start until nothing of it is left. */
interface Hosted<Scripts> {
  readonly id: string;
  readonly reservation: Reservation;
  readonly starting: AbortController;
  readonly started: Promise<{ readonly url: string }>;
  scripts: RunnerScripts<Scripts> | undefined;
  url: string | undefined;
  /** Set by the first that ends it. */
  ended: Promise<void> | undefined;
}

/** Milliseconds that the call in hand gets to answer after its runner died with it. */
const lastAnswerMs = 5000;

/**
 * Runners whose routes are in this process: one server for all, a script or a container behind each. Nothing of them outlives the process,
 * so there is nothing to adopt.
 */
export function createLocalRunners<Scripts>(deps: LocalRunnersDeps<Scripts>): RunnerHost {
  const runners = new Map<string, Hosted<Scripts>>();
  let closed = false;
  let exit: (runnerId: string, reason: string) => void = () => undefined;

  const end = (runner: Hosted<Scripts>, drainMs: number): Promise<void> => {
    runner.ended ??= endRunner(deps, runner, drainMs).finally(() => {
      runners.delete(runner.id);
      runner.reservation.release();
    });
    return runner.ended;
  };
  const onExit = (runner: Hosted<Scripts>, reason: string): void => {
    if (runner.ended !== undefined || runner.url === undefined) return;
    end(runner, lastAnswerMs)
      .catch((error: unknown) => {
        deps.log.warn({ err: error, runner: runner.id }, 'what is left of a runner cannot be removed');
      })
      .finally(() => {
        exit(runner.id, reason);
      });
  };
  return {
    kind: deps.kind,
    limit: deps.limit,
    start: (plan, reservation) => {
      const known = runners.get(plan.runner_id);
      if (known !== undefined) {
        if (known.reservation !== reservation) reservation.release();
        return known.started;
      }
      if (closed) return Promise.reject(new AppError('unavailable', 'The server is stopping.'));
      if (runners.size >= deps.limit) {
        return Promise.reject(new AppError('limit_reached', `There are ${deps.limit} runners already.`));
      }
      const { promise, resolve, reject } = Promise.withResolvers<{ readonly url: string }>();
      const runner = createHosted<Scripts>(plan.runner_id, reservation, promise);
      runners.set(runner.id, runner);
      startRunner(deps, runner, plan, onExit).then(resolve, reject);
      promise.catch(() => end(runner, 0)).catch(() => undefined);
      return promise;
    },
    stop: async (runnerId, drainMs) => {
      const runner = runners.get(runnerId);
      if (runner !== undefined) await end(runner, drainMs);
    },
    runners: () =>
      Promise.resolve(
        [...runners.values()].flatMap(({ id, url }) => (url === undefined ? [] : [{ runner_id: id, url }])),
      ),
    isBusy: (runnerId) => deps.server.isBusy(runnerId),
    onExit: (listener) => {
      exit = listener;
    },
    close: async (drainMs) => {
      closed = true;
      await Promise.allSettled([...runners.values()].map((runner) => end(runner, drainMs)));
    },
  };
}

function createHosted<Scripts>(
  id: string,
  reservation: Reservation,
  started: Promise<{ readonly url: string }>,
): Hosted<Scripts> {
  return {
    id,
    reservation,
    starting: new AbortController(),
    started,
    scripts: undefined,
    url: undefined,
    ended: undefined,
  };
}

async function startRunner<Scripts>(
  deps: LocalRunnersDeps<Scripts>,
  runner: Hosted<Scripts>,
  plan: RunnerPlan,
  onExit: (runner: Hosted<Scripts>, reason: string) => void,
): Promise<{ readonly url: string }> {
  runner.scripts = await deps.scriptsFor(plan, {
    signal: runner.starting.signal,
    onExit: (reason) => {
      onExit(runner, reason);
    },
  });
  if (runner.ended !== undefined) throw new AppError('cancelled', 'The runner is not wanted any more.');
  const { url } = deps.server.open(plan, { scripts: runner.scripts.scripts });
  runner.url = url;
  return { url };
}

async function endRunner<Scripts>(
  deps: LocalRunnersDeps<Scripts>,
  runner: Hosted<Scripts>,
  drainMs: number,
): Promise<void> {
  runner.starting.abort(new AppError('cancelled', 'The runner is not wanted any more.'));
  await runner.started.catch(() => undefined);
  try {
    await deps.server.close(runner.id, drainMs);
  } finally {
    await runner.scripts?.close();
  }
}
