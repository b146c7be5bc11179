import type { RunnerState } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { readyRunners } from './pick-runner.ts';

/** Seconds for `Retry-After`. */
const soon = 5;
const later = 30;

/** Why calls do not wait for a runner. */
export interface Obstacle {
  readonly error: AppError;
  /** Whether runners are wanted all the same: trying again may help. */
  readonly wanted: boolean;
}

/**
 * What keeps a service's calls from being performed, so that there is nothing to wait for.
 * @param service as the directory knows it; undefined when it is gone
 */
export function obstacleOf(
  name: string,
  service: { readonly stopped: boolean } | undefined,
  state: RunnerState | undefined,
): Obstacle | undefined {
  if (service === undefined) {
    return { error: new AppError('not_found', `There is no service "${name}" any more.`), wanted: false };
  }
  if (service.stopped) {
    const message = `The service "${name}" is stopped. Start it: POST /system/services/${name}/start.`;
    return { error: new AppError('unavailable', message, { retryAfterSeconds: later }), wanted: false };
  }
  if (state?.state !== 'failed' || readyRunners(state.runners).length > 0) return undefined;
  const message = `No runner of "${name}" could be started: ${state.reason}`;
  return { error: new AppError('unavailable', message, { retryAfterSeconds: later }), wanted: true };
}

export function queueFull(limit: number): AppError {
  return new AppError('limit_reached', `${limit} calls of this service wait for a runner already.`, {
    retryAfterSeconds: soon,
  });
}

export function waitedTooLong(waitMs: number, state: RunnerState | undefined): AppError {
  return new AppError('unavailable', `No runner was free within ${waitMs / 1000} s: ${whyNone(state)}`, {
    retryAfterSeconds: soon,
  });
}

function whyNone(state: RunnerState | undefined): string {
  if (state === undefined) return 'nothing was heard of runners of this service.';
  const ready = readyRunners(state.runners).length;
  if (ready > 0) return `all ${ready} were busy or did not answer (at most ${state.limit} are started).`;
  return state.reason === '' ? 'none is ready yet.' : state.reason;
}

export function shuttingDown(): AppError {
  return new AppError('unavailable', 'The server is being stopped.', { retryAfterSeconds: soon });
}

/** For a call that a runner had in hand. */
export function endedByStop(): AppError {
  const message = 'The server was stopped during the call: nobody knows how far the script came.';
  return new AppError('unavailable', message, { retryAfterSeconds: soon });
}
