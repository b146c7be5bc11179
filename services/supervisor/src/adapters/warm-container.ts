import { randomUUID } from 'node:crypto';
import { constants, realpathSync } from 'node:fs';
import { copyFile, mkdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunnerPlan } from '@sluice/shared/contracts';
import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import { AttemptStop } from '../domain/attempt-stop.ts';
import { containerNeeds } from '../domain/container-needs.ts';
import { removeTree } from '../files/remove-tree.ts';
import type { ContainerNeeds, ScriptEnd, ScriptRequest, ScriptRunner } from '../ports.ts';
import { setAlarm } from './alarm.ts';
import { isUnanswered, type ContainerEngine, type EngineImage } from './container-engine.ts';
import type { ContainerHost } from './container-host.ts';
import { drained, readContainerOutput, type ContainerOutput } from './container-output.ts';
import { environment, shellCommand, warmSpec } from './container-spec.ts';
import { unlessAborted } from './unless-aborted.ts';

export interface WarmOptions {
  /** Folder of this runner, that of each call in it; made here and removed by `close`. */
  readonly workDir: string;
  /** Aborted: the runner is not wanted any more. */
  readonly signal: AbortSignal;
  /** Called once when the container takes no more scripts, unless it was closed; `inOrder` where a call had to be ended with it and nothing else is wrong. The script in hand still ends as it may. */
  readonly onExit: (reason: string, inOrder: boolean) => void;
}

/** A container that is kept for one script after the other. */
export interface WarmContainer {
  readonly scripts: ScriptRunner;
  close(): Promise<void>;
}

/** The init process, and the shell that waits. */
const idleProcesses = 2;
const poll = { firstMs: 10, longestMs: 500 };
/** Exit code of what was ended by SIGKILL. */
const killed = 137;
/** What an ended script printed last; a process that it left behind may hold the pipe for ever. */
const lastOutputMs = 500;

interface Warm {
  readonly host: ContainerHost;
  readonly id: string;
  readonly image: EngineImage;
  readonly needs: ContainerNeeds;
  readonly workDir: string;
  /** Resolves with the reason when it takes no more. */
  readonly gone: Promise<string>;
  /** @param inOrder a call had to be ended with it, nothing else is wrong */
  lose(reason: string, inOrder?: boolean): void;
  lost: string | undefined;
}

/**
 * Starts a container that only waits, and has scripts run in it, each started by the engine with the environment of its call. The engine can't end a script alone: a
 * time-out or a cancelled call ends the container with it, and so does a process that a script left behind. Then `onExit` says that another one is needed.
 * @throws AppError `unprocessable` (no such image, no shell in it), `unavailable` (worth another try), `cancelled`
 */
export async function openWarmContainer(
  host: ContainerHost,
  plan: RunnerPlan,
  options: WarmOptions,
): Promise<WarmContainer> {
  try {
    return await open(host, plan, options);
  } catch (error) {
    await removeTree(options.workDir);
    if (!(error instanceof AttemptStop)) throw error;
    throw new AppError(error.retryable ? 'unavailable' : 'unprocessable', error.message, { cause: error });
  }
}

async function open(host: ContainerHost, plan: RunnerPlan, options: WarmOptions): Promise<WarmContainer> {
  const { signal } = options;
  const base = containerNeeds(plan.definition);
  const needs = { ...base, labels: { ...base.labels, 'sluice.runner': plan.runner_id } };
  const image = await unlessAborted(signal, host.findImage(needs));
  if (image === undefined || signal.aborted) throw unwanted();
  await mkdir(options.workDir, { recursive: true, mode: 0o700 });
  const workDir = realpathSync(options.workDir);
  const { facts, instance, user, graceMs } = host;
  const parts = { needs, image, facts, instance, user, workDir, env: {}, graceMs };
  const id = await host.create(needs, image, warmSpec(parts));
  try {
    await host.engine.start(id);
    if (signal.aborted) throw unwanted();
  } catch (error) {
    await host.discard(id);
    throw error;
  }
  const warm = createWarm({ host, id, image, needs, workDir }, options.onExit);
  return {
    scripts: { run: async (request) => run(warm, request) },
    close: async () => {
      warm.lost ??= 'it was closed';
      await host.discard(id);
      await removeTree(workDir);
    },
  };
}

function unwanted(): AppError {
  return new AppError('cancelled', 'The runner is not wanted any more.');
}

function createWarm(
  parts: Pick<Warm, 'host' | 'id' | 'image' | 'needs' | 'workDir'>,
  onExit: WarmOptions['onExit'],
): Warm {
  const { promise: gone, resolve } = Promise.withResolvers<string>();
  const warm: Warm = {
    ...parts,
    gone,
    lost: undefined,
    lose: (reason, inOrder = false) => {
      resolve(reason);
      if (warm.lost !== undefined) return;
      warm.lost = reason;
      onExit(reason, inOrder);
    },
  };
  parts.host.engine.wait(parts.id).then(
    () => warm.lose('its container ended'),
    (error: unknown) => warm.lose(messageOf(error)),
  );
  return warm;
}

async function run(warm: Warm, request: ScriptRequest): Promise<ScriptEnd> {
  if (request.signal.aborted) return { kind: 'cancelled' };
  if (warm.lost !== undefined) throw new AppError('unavailable', `The runner has ended: ${warm.lost}.`);
  // A name that nobody could guess: an earlier script may have put links there, which would be written through.
  const script = join(warm.workDir, `.script-${randomUUID()}`);
  await copyFile(request.scriptPath, script, constants.COPYFILE_EXCL);
  try {
    return await runScript(warm, request, script);
  } finally {
    await unlink(script).catch(() => undefined);
  }
}

async function runScript(warm: Warm, request: ScriptRequest, script: string): Promise<ScriptEnd> {
  const { host } = warm;
  const { execId, output: stream } = await start(warm, request, script);
  request.onStarted();
  const output = readContainerOutput(stream, request.onOutput);
  try {
    const end = await supervise(warm, request, execId, output);
    if (end.kind === 'gone') return await afterLoss(warm, end.reason);
    if (end.kind === 'exited') return await afterExit(warm, end);
    await endContainer(warm, end.kind === 'timed_out' ? 'a call ran too long' : 'a call was cancelled', true);
    await drained(host.clock, output);
    return end;
  } finally {
    output.close();
  }
}

/** @throws AppError `unavailable`, after the script was said to run where it may be running */
async function start(
  warm: Warm,
  request: ScriptRequest,
  script: string,
): ReturnType<ContainerEngine['exec']> {
  const { host, id, image } = warm;
  const env = environment({ env: request.env, image, workDir: request.cwd });
  try {
    return await host.engine.exec(id, { command: shellCommand(script), env, cwd: request.cwd });
  } catch (error) {
    if (isUnanswered(error)) request.onStarted();
    await endContainer(warm, messageOf(error));
    throw isAppError(error) ? new AppError('unavailable', error.message, { cause: error }) : error;
  }
}

type End = Extract<ScriptEnd, { kind: 'exited' | 'timed_out' | 'cancelled' }>;

async function supervise(
  warm: Warm,
  request: ScriptRequest,
  execId: string,
  output: ContainerOutput,
): Promise<End | { readonly kind: 'gone'; readonly reason: string }> {
  const { promise: wanted, resolve: endIt } = Promise.withResolvers<'timed_out' | 'cancelled'>();
  const cancel = (): void => endIt('cancelled');
  const stopAlarm = setAlarm(request.timeoutMs, () => endIt('timed_out'));
  request.signal.addEventListener('abort', cancel, { once: true });
  if (request.signal.aborted) cancel();
  const over = new AbortController();
  const gone = (reason: string) => ({ kind: 'gone', reason }) as const;
  try {
    return await Promise.race([
      exitOf(warm, execId, output, over.signal).then(
        (exitCode) => ({ kind: 'exited', exitCode }) as const,
        (error: unknown) => gone(messageOf(error)),
      ),
      wanted.then((kind) => ({ kind }) as const),
      warm.gone.then(gone),
    ]);
  } finally {
    over.abort();
    stopAlarm();
    request.signal.removeEventListener('abort', cancel);
  }
}

/**
 * The script's exit code, when it has ended. Most end with their output; one whose output is held open by something it started is found by asking, at growing
 * intervals.
 */
async function exitOf(
  warm: Warm,
  execId: string,
  output: ContainerOutput,
  signal: AbortSignal,
): Promise<number> {
  const { engine, clock } = warm.host;
  let waitMs = poll.firstMs;
  let silent = false;
  const printed = output.ended.then(() => {
    silent = true;
    waitMs = poll.firstMs;
  });
  for (;;) {
    const enough = new AbortController();
    const pause = clock.sleep(waitMs, AbortSignal.any([signal, enough.signal])).catch(() => undefined);
    await (silent ? pause : Promise.race([printed, pause]));
    enough.abort();
    signal.throwIfAborted();
    const { running, exitCode } = await engine.execExit(execId);
    if (!running) {
      await drained(clock, output, lastOutputMs);
      return exitCode;
    }
    waitMs = Math.min(poll.longestMs, waitMs * 2);
  }
}

/** A script's end is told as it is; whether its container may be used again is another matter. */
async function afterExit(warm: Warm, end: Extract<ScriptEnd, { kind: 'exited' }>): Promise<ScriptEnd> {
  const rest = await restOf(warm);
  if (rest === 'dead' && end.exitCode === killed) return afterLoss(warm, 'its container ended');
  if (end.exitCode !== 0 && rest !== 'dead' && (await countOomKills(warm)) > 0) {
    return outOfMemory(warm, end.exitCode);
  }
  if (rest === 'processes') await endContainer(warm, 'a call left processes behind', true);
  if (rest === 'dead') await endContainer(warm, 'its container ended');
  return end;
}

/** What is in the container after a script; what has just ended may still be collected. */
async function restOf({ host, id }: Warm): Promise<'idle' | 'processes' | 'dead'> {
  for (let look = 0; look < 5; look += 1) {
    const count = await host.engine.processes(id).catch(() => 0);
    if (count === 0) return 'dead';
    if (count <= idleProcesses) return 'idle';
    await host.clock.sleep(20);
  }
  return 'processes';
}

/** The engine tells of it only when the container ends; the kernel counts, the later versions of control groups in another file. */
const readOomKills =
  'for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do [ -r $file ] || continue; ' +
  'while read -r name value; do [ "$name" = oom_kill ] && echo "$value"; done < $file; done';

async function countOomKills({ host, id, workDir }: Warm): Promise<number> {
  const command = ['/bin/sh', '-c', readOomKills];
  let text = '';
  try {
    const { output: stream } = await host.engine.exec(id, { command, env: [], cwd: workDir });
    const output = readContainerOutput(stream, (chunk) => {
      text += Buffer.from(chunk).toString('latin1');
      return Promise.resolve();
    });
    await drained(host.clock, output);
    output.close();
  } catch (error) {
    host.log.warn({ err: error }, 'a container does not tell whether it ran out of memory');
  }
  return Number.parseInt(text, 10) || 0;
}

/** @throws AppError `unavailable`, unless it is known why the container went */
async function afterLoss(warm: Warm, reason: string): Promise<ScriptEnd> {
  const state = await stateOf(warm);
  if (state?.oomKilled === true) return outOfMemory(warm, killed);
  await endContainer(warm, reason);
  throw new AppError('unavailable', `the script's container went out of sight while it ran: ${reason}`);
}

async function outOfMemory(warm: Warm, exitCode: number): Promise<ScriptEnd> {
  await endContainer(warm, 'a call ran out of memory', true);
  return { kind: 'out_of_memory', exitCode, limit: warm.needs.memoryText };
}

/** Of a container that is ending: when it has ended. */
async function stateOf({ host, id }: Warm): ReturnType<ContainerEngine['inspect']> {
  for (let look = 0; look < 20; look += 1) {
    const state = await host.engine.inspect(id).catch(() => undefined);
    if (state?.running !== true) return state;
    await host.clock.sleep(50);
  }
  return undefined;
}

async function endContainer(warm: Warm, reason: string, inOrder = false): Promise<void> {
  warm.lose(reason, inOrder);
  await warm.host.discard(warm.id);
}
