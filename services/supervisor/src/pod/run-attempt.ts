import { realpathSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { join } from 'node:path';
import {
  outcomeKey,
  OutcomeRecord,
  type AttemptGrant,
  type AttemptOutcome,
  type StorageGrant,
} from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET, type ObjectStore, type RunLogs } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { Check } from 'typebox/value';
import type { PodScripts } from '../adapters/pod-scripts.ts';
import type { SchedulerClient } from '../adapters/scheduler-client.ts';
import { createSupervisor, type SupervisorOptions } from '../app/supervisor.ts';
import { makeWorkFolder } from '../files/work-folder.ts';
import { removeTree } from '../files/remove-tree.ts';
import type { AttemptContext, AttemptProgress, ScriptRunner, WorkFolder, WorkFolders } from '../ports.ts';
import { withPatience } from './patience.ts';

type Objects = Pick<ObjectStore, 'get' | 'head' | 'list' | 'put' | 'remove'>;

export interface PodRunOptions {
  readonly scripts: PodScripts;
  readonly scheduler: SchedulerClient;
  readonly openObjects: (first: StorageGrant) => Objects;
  readonly openLogs: (objects: Objects, maxBytes: number) => RunLogs;
  /** Shared with the main container. */
  readonly folder: string;
  readonly pod: string;
  readonly instance: string;
  /** Copies what the run prints to the pod's own log. */
  readonly print: (chunk: Uint8Array) => Promise<void>;
  /** Aborted: the pod is to end within the grace. */
  readonly signal: AbortSignal;
  readonly graceMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How long a scheduler that is away is waited for; what remains of the pod is ended by its Job's deadline. */
const claimMs = 600_000;
const storeMs = 120_000;
const reportMs = 60_000;
const progressMs = 3000;
/** As the scheduler reads them. */
const maxRecordBytes = 2 ** 20;
/** Supervisors of one pod that try: what ends one again and again (most of all its memory) would go on for ever. */
const maxStarts = 3;

/** Exit codes of the main container where they are not the script's. */
const codes = { refused: 75, lost: 143, broken: 70 } as const;

/**
 * A pod's one attempt, from the claim to the end of its main container. What happened is told by the outcome object; the report is the quick way to say so.
 * After a restart all of it is done again, and nothing twice: the script is found running or ended, outputs are found uploaded, the outcome is found written.
 * @returns the exit code of the supervisor
 */
export async function runAttempt(options: PodRunOptions): Promise<number> {
  const { scripts, log } = options;
  if (scripts.isReleased()) return finish(options, undefined);
  let grant: AttemptGrant;
  try {
    grant = await withPatience(options.clock, { forMs: claimMs, signal: options.signal }, async () =>
      options.scheduler.claimAttempt(),
    );
  } catch (error) {
    log.warn({ err: error }, 'the attempt is not given to this pod');
    return finish(options, codes.refused);
  }
  try {
    return await performGranted(options, grant);
  } catch (error) {
    // Only a bug of ours comes here: without an outcome the Job's failure is the outcome.
    log.error({ err: error }, 'the attempt broke');
    return finish(options, codes.broken);
  }
}

async function performGranted(options: PodRunOptions, grant: AttemptGrant): Promise<number> {
  const { plan, limits } = grant;
  const { log, clock, scripts } = options;
  const objects = options.openObjects(grant.storage);
  if (scripts.starts > maxStarts) return conclude(options, objects, grant, exhausted(scripts));
  const service = plan.definition.name;
  const output = await options.openLogs(objects, limits.log_bytes).open({ service, runId: plan.run_id });
  const print = printing(options.print, limits.log_bytes);
  const so = { scriptEnded: false };
  const supervisor = createSupervisor({
    objects,
    scripts: noting(scripts, so),
    clock,
    log,
    instance: options.instance,
    hostName: options.pod,
    // The image's own.
    baseEnv: {},
    scriptCacheDir: join(options.folder, '.scripts'),
    limits: { outputBytes: limits.output_bytes, ...leanLimits },
  });
  const context: AttemptContext = {
    workDir: workFolders(options.folder, scripts.isResumed),
    output: {
      write: async (chunk) => {
        await Promise.all([output.write(chunk), print(chunk)]);
      },
    },
    report: async (progress) => report(options, grant, progress),
    signal: endSignal(options, so),
  };
  const performed = await supervisor.perform(plan, context);
  const outcome = options.signal.aborted || scripts.lost() === 'asked' ? planned(performed) : performed;
  const logged = output.close();
  if (scripts.lost() === 'gone' && (outcome.result === 'lost' || outcome.result === 'cancelled')) {
    // Out of memory, evicted, killed: its container's status says which.
    log.warn(
      { run_id: plan.run_id },
      'the main container has ended: what became of the attempt is told by its Job',
    );
    await logged;
    return 1;
  }
  return conclude(options, objects, grant, outcome, logged);
}

async function conclude(
  options: PodRunOptions,
  objects: Objects,
  grant: AttemptGrant,
  outcome: AttemptOutcome,
  logged?: Promise<unknown>,
): Promise<number> {
  const [stored] = await Promise.all([storeOutcome(options, objects, grant, outcome), logged]);
  const ended = stored ?? outcome;
  // Why a pod was asked to end is for the cluster to say: the scheduler looks at both.
  if (ended.failure?.code !== plannedStop) await reportFinished(options, grant, ended);
  return finish(options, exitCode(ended));
}

/** The pod's own log lies on its node's disk, and counts there: it gets as much as is kept of the run's. */
function printing(print: PodRunOptions['print'], bytes: number): PodRunOptions['print'] {
  let left = bytes;
  return async (chunk) => {
    if (left <= 0) return;
    const piece = chunk.subarray(0, left);
    left -= piece.length;
    await print(piece);
    if (left <= 0) await print(Buffer.from('\n(the rest is in no log of the pod)\n'));
  };
}

/** Tried again as the service says: on another node, or with less at the same time, it may do better. */
function exhausted({ starts, isResumed }: PodScripts): AttemptOutcome {
  const message = `the supervisor beside the script was ended ${starts - 1} times before it was done; most often it needs more memory than it has`;
  const failure = { code: 'supervisor_lost', message };
  return { result: 'failed', script_started: isResumed, outputs: [], failure, retryable: true };
}

/** A pod's memory is small, and what it has to upload is its own. */
const leanLimits: SupervisorOptions['limits'] = { uploadConcurrency: 4 };

function noting(scripts: ScriptRunner, so: { scriptEnded: boolean }): ScriptRunner {
  return {
    run: async (request) => {
      const end = await scripts.run(request);
      so.scriptEnded = true;
      return end;
    },
  };
}

/** A script is ended as soon as the pod is to end; an upload gets half of the time that is left. */
function endSignal(
  { signal, clock, graceMs }: PodRunOptions,
  so: { readonly scriptEnded: boolean },
): AbortSignal {
  const end = new AbortController();
  const stop = (): void => {
    if (!so.scriptEnded) return end.abort();
    void clock.sleep(graceMs / 2).then(() => end.abort());
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  return end.signal;
}

/**
 * The folders of the one attempt. They go with the pod, so nobody waits for their removal. A script that was begun by an earlier supervisor keeps what it has;
 * the input is fetched again beside it, for what its metadata says.
 */
function workFolders(folder: string, resumed: boolean): WorkFolders {
  return {
    take: async (): Promise<WorkFolder> => {
      if (!resumed) return makeWorkFolder(join(folder, 'work'));
      const real = realpathSync(folder);
      const root = join(real, '.again');
      await removeTree(root);
      await mkdir(join(root, 'input'), { recursive: true });
      return { root, input: join(root, 'input'), output: join(real, 'work', 'output') };
    },
    giveBack: () => undefined,
  };
}

const plannedStop = 'planned_stop';

/** The end of a pod is nobody's fault: it costs the run nothing. */
function planned(outcome: AttemptOutcome): AttemptOutcome {
  if (outcome.result !== 'cancelled' && outcome.failure?.code !== 'script_lost') return outcome;
  const failure = { code: plannedStop, message: 'the pod was asked to end' };
  return { ...outcome, result: 'lost', failure };
}

async function report(
  { scheduler, clock, signal }: PodRunOptions,
  { plan }: AttemptGrant,
  progress: AttemptProgress,
): Promise<void> {
  const { run_id, attempt } = plan;
  await withPatience(clock, { forMs: progressMs, signal }, async () =>
    scheduler.report({ kind: 'progress', run_id, attempt, ...progress }),
  );
}

/** @returns what is stored: an earlier supervisor's, where there is one; undefined where nothing could be */
async function storeOutcome(
  options: PodRunOptions,
  objects: Objects,
  { plan, run }: AttemptGrant,
  outcome: AttemptOutcome,
): Promise<AttemptOutcome | undefined> {
  const { clock, log } = options;
  const key = outcomeKey({ service: plan.definition.name, runId: plan.run_id, attempt: plan.attempt });
  // With the run a lost ledger has its record again, not only its claim.
  const record: OutcomeRecord = {
    outcome,
    ...(run === undefined ? {} : { run }),
    ended_at: clock.now(),
  };
  const forMs = options.signal.aborted ? options.graceMs / 2 : storeMs;
  try {
    return await withPatience(clock, { forMs }, async () => {
      try {
        const put = { ifNoneMatch: '*', contentType: 'application/json' } as const;
        await objects.put(SYSTEM_BUCKET, key, Buffer.from(JSON.stringify(record)), put);
        return outcome;
      } catch (error) {
        if (!isAppError(error, 'precondition_failed')) throw error;
        return await storedOutcome(objects, key);
      }
    });
  } catch (error) {
    log.error({ err: error, run_id: plan.run_id }, 'the outcome cannot be stored');
    return undefined;
  }
}

/** An earlier supervisor's; undefined for what no supervisor wrote. */
async function storedOutcome(objects: Objects, key: string): Promise<AttemptOutcome | undefined> {
  const { info, body } = await objects.get(SYSTEM_BUCKET, key);
  if (info.size > maxRecordBytes) {
    body.destroy();
    return undefined;
  }
  const record: unknown = parsed(await buffer(body));
  return Check(OutcomeRecord, record) ? record.outcome : undefined;
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

async function reportFinished(
  { scheduler, clock, log, signal, graceMs }: PodRunOptions,
  { plan }: AttemptGrant,
  outcome: AttemptOutcome,
): Promise<void> {
  const { run_id, attempt } = plan;
  const forMs = signal.aborted ? graceMs / 4 : reportMs;
  try {
    await withPatience(clock, { forMs }, async () =>
      scheduler.report({ kind: 'finished', run_id, attempt, outcome }),
    );
  } catch (error) {
    log.warn({ err: error, run_id }, 'the outcome could not be reported: it will be found');
  }
}

function exitCode({ result, exit_code: code }: AttemptOutcome): number {
  if (result === 'succeeded' || result === 'superseded') return 0;
  if (result === 'failed') return code === undefined || code === 0 ? 1 : code;
  return codes.lost;
}

/** Lets the main container end. The supervisor's own end must not come before it: a sidecar that ends alone is started again. */
async function finish({ scripts, signal }: PodRunOptions, code: number | undefined): Promise<number> {
  if (code !== undefined) scripts.release(code);
  await scripts.ended(signal);
  return 0;
}
