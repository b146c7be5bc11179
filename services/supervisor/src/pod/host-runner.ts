import { join } from 'node:path';
import type { RunnerGrant, StorageGrant } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import type { PodScripts } from '../adapters/pod-scripts.ts';
import type { SchedulerClient } from '../adapters/scheduler-client.ts';
import { createSupervisor } from '../app/supervisor.ts';
import { createRunnerServer, type RunnerServer } from '../http/runner-server.ts';
import type { ScriptRunner } from '../ports.ts';
import { withPatience } from './patience.ts';

export interface PodRunnerOptions {
  readonly scripts: PodScripts;
  readonly scheduler: SchedulerClient;
  readonly openObjects: (first: StorageGrant) => Pick<ObjectStore, 'get' | 'head' | 'put'>;
  readonly folder: string;
  readonly pod: string;
  readonly instance: string;
  readonly port: number;
  /** Aborted: the pod is to end within the grace. */
  readonly signal: AbortSignal;
  readonly graceMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

const claimMs = 600_000;
const lookMs = 1000;
/** How often the scheduler is asked whether there is one. */
const pingMs = 60_000;
/** Without a call and without a scheduler for so long, a runner is nobody's any more. */
const forgottenMs = 600_000;
const endMs = 5000;
/** Exit code of the main container of a pod that was not wanted. */
const refusedCode = 75;

/** A pod's calls, one at a time, each a script of the same container, until the pod is to end or the container can take no more. */
export async function hostRunner(options: PodRunnerOptions): Promise<number> {
  const { scripts, scheduler, clock, log, signal } = options;
  let grant: RunnerGrant;
  try {
    // A container that has had a supervisor before may have a script of it running.
    if (scripts.isResumed || scripts.isReleased()) throw new Error('the supervisor was started again');
    grant = await withPatience(clock, { forMs: claimMs, signal }, async () => scheduler.claimRunner());
  } catch (error) {
    log.warn({ err: error }, 'this pod is no runner');
    scripts.release(refusedCode);
    await scripts.ended(signal);
    return 0;
  }
  const use: Use = { lastCall: clock.monotonic(), spent: Promise.withResolvers<void>() };
  const server = openServer(options, grant);
  await server.start();
  server.open(grant.plan, { scripts: noting(options, use) });
  const why = await untilEnd(options, grant, server, use);
  log.info({ runner: grant.plan.runner_id, why }, 'runner ends');
  // The script of a call in hand goes on meanwhile: the shim does not hand SIGTERM on.
  await server.stop(Math.max(0, options.graceMs - 2 * endMs));
  scripts.release(0);
  await scripts.ended(signal);
  return 0;
}

interface Use {
  lastCall: number;
  readonly spent: PromiseWithResolvers<void>;
}

function openServer(options: PodRunnerOptions, grant: RunnerGrant): RunnerServer {
  const { clock, log, folder, scripts } = options;
  const { limits } = grant;
  const supervisor = createSupervisor({
    objects: options.openObjects(grant.storage),
    scripts,
    clock,
    log,
    instance: options.instance,
    hostName: options.pod,
    baseEnv: {},
    scriptCacheDir: join(folder, '.scripts'),
    limits: { outputBytes: limits.output_bytes },
  });
  return createRunnerServer({
    perform: supervisor.perform,
    key: () => grant.token,
    listen: { port: options.port },
    workRoot: join(folder, 'calls'),
    clock,
    log,
    limits: {
      bodyBytes: limits.body_bytes,
      responseBytes: limits.response_bytes,
      answerMemory: 2 * limits.response_bytes,
    },
  });
}

/** Notes when calls are made, and at once when the container takes no more. */
function noting({ scripts, clock }: PodRunnerOptions, use: Use): ScriptRunner {
  return {
    run: async (request) => {
      use.lastCall = clock.monotonic();
      try {
        return await scripts.run(request);
      } finally {
        use.lastCall = clock.monotonic();
        if (scripts.isSpent()) use.spent.resolve();
      }
    },
  };
}

async function untilEnd(
  options: PodRunnerOptions,
  { plan }: RunnerGrant,
  server: RunnerServer,
  use: Use,
): Promise<string> {
  const { scripts, clock, signal } = options;
  const over = new AbortController();
  const watch = async (): Promise<string> => {
    let heard = clock.monotonic();
    let asked = heard;
    for (;;) {
      await clock.sleep(lookMs, over.signal);
      if (scripts.isSpent()) return 'its container takes no more scripts';
      const now = clock.monotonic();
      if (now - asked < pingMs) continue;
      asked = now;
      const answer = await ping(options);
      if (answer === 'refused') return 'the scheduler knows it no more';
      if (answer === 'heard') heard = clock.monotonic();
      const forgotten = Math.min(now - heard, now - use.lastCall) >= forgottenMs;
      if (forgotten && !server.isBusy(plan.runner_id)) return 'it is forgotten';
    }
  };
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  const stop = (): void => end('the pod is to end');
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await Promise.race([
      ended,
      watch(),
      use.spent.promise.then(() => 'its container takes no more scripts'),
    ]);
  } finally {
    over.abort();
    signal.removeEventListener('abort', stop);
  }
}

/** Asks for keys, which are not needed: whoever gives some knows the runner. */
async function ping({ scheduler }: PodRunnerOptions): Promise<'heard' | 'silent' | 'refused'> {
  try {
    await scheduler.storage();
    return 'heard';
  } catch (error) {
    return isAppError(error) && error.retry === 'never' ? 'refused' : 'silent';
  }
}
