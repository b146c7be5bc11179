import type { RunnerPlan } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Logger } from '@sluice/shared/telemetry';
import type { FoundRunner, Reservation, RunnerHost } from '../ports.ts';

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
    control: { readonly signal: AbortSignal; readonly onExit: (reason: string, inOrder?: boolean) => void },
  ) => Promise<RunnerScripts<Scripts>>;
  readonly log: Logger;
}

/** One runner, from its start until nothing of it is left. */
interface Hosted<Scripts> {
  readonly id: string;
  readonly found: FoundRunner;
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
 * so there is nothing of others to adopt.
 */
export function createLocalRunners<Scripts>(deps: LocalRunnersDeps<Scripts>): RunnerHost {
  const state: State<Scripts> = { deps, runners: new Map(), closed: false, exit: () => undefined };
  const { runners } = state;
  return {
    kind: deps.kind,
    limit: deps.limit,
    shared: false,
    start: (plan, reservation) => {
      const known = runners.get(plan.runner_id);
      return known === undefined ? start(state, plan, reservation) : join(known, reservation);
    },
    stop: async (runnerId, drainMs) => {
      const runner = runners.get(runnerId);
      if (runner !== undefined) await end(state, runner, drainMs);
    },
    runners: () =>
      Promise.resolve(
        [...runners.values()].flatMap(({ ended, found }) => (ended === undefined ? [found] : [])),
      ),
    adopt: (runnerId, reservation) => {
      const known = runners.get(runnerId);
      if (known !== undefined) return join(known, reservation);
      return Promise.reject(new AppError('not_found', `There is no runner ${runnerId}.`));
    },
    isBusy: (runnerId) => deps.server.isBusy(runnerId),
    onExit: (listener) => {
      state.exit = listener;
    },
    leave: (drainMs) => endAll(state, drainMs),
    close: async (drainMs) => {
      state.closed = true;
      await endAll(state, drainMs);
    },
  };
}

interface State<Scripts> {
  readonly deps: LocalRunnersDeps<Scripts>;
  readonly runners: Map<string, Hosted<Scripts>>;
  closed: boolean;
  exit: (runnerId: string, reason: string, inOrder: boolean) => void;
}

function start<Scripts>(
  state: State<Scripts>,
  plan: RunnerPlan,
  reservation: Reservation,
): Hosted<Scripts>['started'] {
  const { deps, runners } = state;
  if (state.closed) return Promise.reject(new AppError('unavailable', 'The server is stopping.'));
  if (runners.size >= deps.limit) {
    return Promise.reject(new AppError('limit_reached', `There are ${deps.limit} runners already.`));
  }
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly url: string }>();
  const runner = createHosted<Scripts>(plan, reservation, promise);
  runners.set(runner.id, runner);
  const onExit = (reason: string, inOrder = false): void => {
    exited(state, runner, reason, inOrder);
  };
  startRunner(deps, runner, plan, onExit).then(resolve, reject);
  promise.catch(() => end(state, runner, 0)).catch(() => undefined);
  return promise;
}

function join<Scripts>(known: Hosted<Scripts>, reservation: Reservation): Hosted<Scripts>['started'] {
  if (known.reservation !== reservation) reservation.release();
  return known.started;
}

function end<Scripts>(
  { deps, runners }: State<Scripts>,
  runner: Hosted<Scripts>,
  drainMs: number,
): Promise<void> {
  runner.ended ??= endRunner(deps, runner, drainMs).finally(() => {
    runners.delete(runner.id);
    runner.reservation.release();
  });
  return runner.ended;
}

async function endAll<Scripts>(state: State<Scripts>, drainMs: number): Promise<void> {
  await Promise.allSettled([...state.runners.values()].map((runner) => end(state, runner, drainMs)));
}

function exited<Scripts>(
  state: State<Scripts>,
  runner: Hosted<Scripts>,
  reason: string,
  inOrder: boolean,
): void {
  if (runner.ended !== undefined || runner.url === undefined) return;
  end(state, runner, lastAnswerMs)
    .catch((error: unknown) => {
      state.deps.log.warn({ err: error, runner: runner.id }, 'what is left of a runner cannot be removed');
    })
    .finally(() => {
      state.exit(runner.id, reason, inOrder);
    });
}

function createHosted<Scripts>(
  { runner_id, service_uid, service_version }: RunnerPlan,
  reservation: Reservation,
  started: Promise<{ readonly url: string }>,
): Hosted<Scripts> {
  return {
    id: runner_id,
    found: { runner_id, service_uid, service_version },
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
  onExit: (reason: string, inOrder?: boolean) => void,
): Promise<{ readonly url: string }> {
  runner.scripts = await deps.scriptsFor(plan, {
    signal: runner.starting.signal,
    onExit,
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
