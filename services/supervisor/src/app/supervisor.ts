import { randomUUID } from 'node:crypto';
import type { AttemptOutcome, AttemptPlan } from '@sluice/shared/contracts';
import { fromSystemError, isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectStore } from '@sluice/shared/stores';
import { noTracer, type Logger, type Registry, type Tracer } from '@sluice/shared/telemetry';
import { AttemptStop, outcomeOfError, stopForStore } from '../domain/attempt-stop.ts';
import { attemptContainer } from '../domain/container-needs.ts';
import { recogniseEvent, type RecognisedEvent } from '../domain/event.ts';
import { logThreshold } from '../domain/log-line.ts';
import { outputTargets } from '../domain/outputs.ts';
import { stopForScript } from '../domain/script-end.ts';
import { listOutputFiles } from '../files/output-files.ts';
import { createScriptCache } from '../files/script-cache.ts';
import { createFolderRemover } from '../files/folder-remover.ts';
import { makeWorkFolder } from '../files/work-folder.ts';
import type { AttemptContext, AttemptProgress, ScriptEnd, ScriptRunner, WorkFolder } from '../ports.ts';
import { createAttemptLog, type AttemptLog } from './attempt-log.ts';
import { attemptFields, inPhase } from './attempt-trace.ts';
import type { Attempt, SupervisorDeps } from './attempt.ts';
import { defaultLimits, type SupervisorLimits } from './limits.ts';
import { createSupervisorMetrics } from './metrics.ts';
import { prepareEnvironment, prepareInput, scriptText } from './prepare.ts';
import { readEvent } from './read-event.ts';
import { uploadOutputs } from './upload-outputs.ts';

export interface SupervisorOptions {
  readonly objects: Pick<ObjectStore, 'get' | 'head' | 'put'>;
  readonly scripts: ScriptRunner;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Registry;
  /** @default none */
  readonly tracer?: Tracer;
  /** Names this installation in `SLUICE_INSTANCE`: the same after a restart, without spaces; `killLeftovers` looks for it. */
  readonly instance: string;
  /** The script's `RESOURCE_ID` (OSCAR §4.3). */
  readonly hostName: string;
  /** What scripts get of the server's environment: see `pickBaseEnvironment`. */
  readonly baseEnv: Readonly<Record<string, string>>;
  /** Folder of this supervisor alone, where script texts are kept between runs. */
  readonly scriptCacheDir: string;
  readonly limits?: Partial<SupervisorLimits>;
  readonly randomUuid?: () => string;
}

export interface Supervisor {
  /**
   * Performs one attempt: fetches the input, has the script run, uploads the output (OSCAR §7). Whatever goes wrong is told by the
   * outcome: it never rejects. The work folder is gone afterwards.
   */
  perform(plan: AttemptPlan, context: AttemptContext): Promise<AttemptOutcome>;
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const limits = { ...defaultLimits, ...options.limits };
  const deps: SupervisorDeps = {
    ...options,
    metrics: createSupervisorMetrics(options.metrics),
    tracer: options.tracer ?? noTracer,
    scriptCache: createScriptCache(options.scriptCacheDir),
    folders: createFolderRemover(options),
    randomUuid: options.randomUuid ?? randomUUID,
  };
  return { perform: async (plan, context) => perform(deps, limits, plan, context) };
}

async function perform(
  deps: SupervisorDeps,
  limits: SupervisorLimits,
  plan: AttemptPlan,
  context: AttemptContext,
): Promise<AttemptOutcome> {
  const level = plan.definition.environment.variables['LOG_LEVEL'] ?? plan.secrets.environment['LOG_LEVEL'];
  const log = createAttemptLog({
    sink: context.output,
    threshold: logThreshold(plan.definition.log_level, level),
    clock: deps.clock,
    log: deps.log,
    fields: attemptFields(plan),
    onScriptOutput: context.onScriptOutput,
  });
  const { progress, settled } = createProgress(deps, plan, context);
  const so = { scriptStarted: false, exitCode: undefined as number | undefined, cancelled: false };
  let attempt: Attempt | undefined;
  let outcome: AttemptOutcome;
  try {
    throwIfCancelled(context.signal);
    const folder = await takeFolder(context);
    const scriptTrace = deps.tracer.context(plan.traceparent);
    attempt = { plan, context, limits, folder, log, progress, scriptTrace, ...so };
    outcome = await performSteps(deps, attempt);
  } catch (error) {
    const stop = stopForMachine(error);
    const cancelled = context.signal.aborted;
    outcome = outcomeOfError(stop, { ...so, ...attempt, cancelled });
    noteFailure(deps, plan, log, outcome, stop);
  }
  await log.flush();
  context.call?.onOutcome(outcome);
  if (attempt !== undefined) await cleanUp(deps, attempt);
  await settled();
  // A call is no attempt of a run: whoever answers it counts it.
  if (context.call === undefined) deps.metrics.ended(outcome);
  return outcome;
}

async function performSteps(deps: SupervisorDeps, attempt: Attempt): Promise<AttemptOutcome> {
  const { plan, context, limits } = attempt;
  const { call } = context;
  const body = call?.event ?? (await readEvent(deps.objects, plan.event, limits.eventBytes, context.signal));
  const event = recogniseEvent(body);
  const targets = outputTargets(plan.definition, eventBucket(plan, event));
  const text = scriptText(plan);
  const input = await prepareInput(deps, attempt, event);
  const env = await prepareEnvironment(deps, attempt, event, body, input);
  await inPhase(deps, plan, 'script', { as: attempt.scriptTrace }, () => runScript(deps, attempt, text, env));
  const listing = await listOutputFiles(attempt.folder.output, limits.outputFiles);
  const uploaded = await inPhase(deps, plan, 'upload', {}, async ({ traceparent }) =>
    uploadOutputs(
      {
        objects: deps.objects,
        clock: deps.clock,
        limits,
        log: attempt.log,
        signal: context.signal,
        // What an output starts is a child of its upload.
        plan: { ...plan, traceparent },
        input: input.state,
        outputDir: attempt.folder.output,
        onUploading: () => attempt.progress({ phase: 'uploading' }),
      },
      listing,
      targets,
    ),
  );
  await call?.onOutputs({
    folder: attempt.folder.output,
    files: listing.files,
    unknownEvent: event.kind === 'unknown',
  });
  return { result: 'succeeded', script_started: true, exit_code: 0, ...uploaded };
}

function eventBucket(plan: AttemptPlan, event: RecognisedEvent): string | undefined {
  return plan.input?.bucket ?? (event.kind === 'storage' ? event.bucket : undefined);
}

/** @throws AttemptStop unless the script ended with exit code 0 */
async function runScript(
  deps: SupervisorDeps,
  attempt: Attempt,
  text: string,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const { plan, context, folder, log } = attempt;
  throwIfCancelled(context.signal);
  const scriptPath = deps.scriptCache.ensure(text);
  log.line('DEBUG', `running the script in ${folder.root}`);
  let end: ScriptEnd;
  try {
    end = await (context.call?.scripts ?? deps.scripts).run({
      scriptPath,
      // Stray files die with the run.
      cwd: folder.root,
      env,
      timeoutMs: plan.timeout_ms,
      signal: context.signal,
      onStarted: () => {
        attempt.scriptStarted = true;
        attempt.progress({ phase: 'running' });
      },
      onOutput: async (chunk) => log.output(chunk),
      container: attemptContainer(plan),
      onNote: (message) => log.line('INFO', message),
    });
  } catch (error) {
    throw stopForRunner(error, attempt.scriptStarted);
  }
  const stop = stopForScript(end, plan.timeout_ms, log.lastLines());
  attempt.exitCode = end.kind === 'exited' ? end.exitCode : stop?.exitCode;
  if (stop !== undefined) throw stop;
  log.line('DEBUG', 'the script ended with exit code 0');
}

/** A script that never had a process may be tried freely; one whose process went out of sight is a lost attempt. */
function stopForRunner(error: unknown, started: boolean): unknown {
  if (!isAppError(error, 'unavailable')) return error;
  return started
    ? new AttemptStop('script_lost', error.message, { result: 'lost', cause: error })
    : new AttemptStop('script_not_started', error.message, { retryable: true, cause: error });
}

function throwIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw new AttemptStop('cancelled', 'cancelled', { result: 'cancelled' });
}

/** Faults of the machine (a full disk, too large an environment) get a code and a verdict; bugs stay as they are. */
function stopForMachine(error: unknown): unknown {
  const known = fromSystemError(error, 'prepare the run');
  if (isAppError(known, 'too_large')) {
    return new AttemptStop('environment_too_large', known.message, { cause: error });
  }
  return stopForStore(known, 'internal_error', 'the run could not be prepared');
}

function noteFailure(
  deps: SupervisorDeps,
  plan: AttemptPlan,
  log: AttemptLog,
  outcome: AttemptOutcome,
  error: unknown,
): void {
  const code = outcome.failure?.code ?? outcome.result;
  // The last lines are in the log already: only the sentence goes there.
  const sentence = (outcome.failure?.message ?? code).split('; its last lines:\n', 1)[0] ?? code;
  log.line(outcome.result === 'failed' || outcome.result === 'lost' ? 'ERROR' : 'WARNING', sentence);
  if (code === 'internal_error') deps.log.error({ ...attemptFields(plan), err: error }, 'attempt broke');
}

async function takeFolder({ workDir }: AttemptContext): Promise<WorkFolder> {
  return typeof workDir === 'string' ? makeWorkFolder(workDir) : workDir.take();
}

async function cleanUp(deps: SupervisorDeps, attempt: Attempt): Promise<void> {
  const { workDir } = attempt.context;
  if (typeof workDir !== 'string') {
    workDir.giveBack(attempt.folder);
    return;
  }
  // The outcome stands, whatever becomes of the folder.
  await deps.folders.remove(attempt.folder.root, attemptFields(attempt.plan));
}

/** Reports in order; `settled` waits for the last. A report that is lost changes nothing: the outcome tells all. */
function createProgress(
  deps: SupervisorDeps,
  plan: AttemptPlan,
  context: AttemptContext,
): { progress: (progress: AttemptProgress) => void; settled: () => Promise<void> } {
  let last: Promise<void> | undefined;
  return {
    progress: (progress) => {
      const before = last;
      const report = async (): Promise<void> => {
        await before;
        await context.report(progress);
      };
      last = report().catch((error: unknown) => {
        deps.log.warn({ ...attemptFields(plan), err: error }, 'progress of an attempt could not be reported');
      });
    },
    settled: async () => last,
  };
}
