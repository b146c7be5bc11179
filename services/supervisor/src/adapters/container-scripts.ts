import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import type { ContainerNeeds, ScriptEnd, ScriptRequest, ScriptRunner } from '../ports.ts';
import { setAlarm } from './alarm.ts';
import { isUnanswered } from './container-engine.ts';
import type { ContainerHost } from './container-host.ts';
import { drained, readContainerOutput } from './container-output.ts';
import { attemptSpec } from './container-spec.ts';
import { unlessAborted } from './unless-aborted.ts';

/**
 * Runs each script in a container of its own, made of its service's image and removed afterwards: `/bin/sh <script>` as the server's user, without
 * privileges, with the declared CPU and memory, without network unless the service asks for it. Of this machine it sees the attempt's work folder, at the same path.
 */
export function createContainerScripts(host: ContainerHost): ScriptRunner {
  return { run: async (request) => run(host, request) };
}

async function run(host: ContainerHost, request: ScriptRequest): Promise<ScriptEnd> {
  const needs = request.container;
  if (needs === undefined) throw new AppError('invalid_input', 'A container needs an image.');
  if (request.signal.aborted) return { kind: 'cancelled' };
  const image = await unlessAborted(request.signal, host.findImage(needs));
  if (image === undefined) return { kind: 'cancelled' };
  request.onNote?.(`the image ${needs.image} is ${image.id}`);
  const { instance, facts, user, graceMs } = host;
  const parts = { needs, image, facts, instance, user, workDir: request.cwd, env: request.env, graceMs };
  const id = await host.create(needs, image, attemptSpec(parts, request.scriptPath));
  try {
    return await runIn(host, id, needs, request);
  } finally {
    await host.discard(id);
  }
}

async function runIn(
  host: ContainerHost,
  id: string,
  needs: ContainerNeeds,
  request: ScriptRequest,
): Promise<ScriptEnd> {
  const { engine } = host;
  if (request.signal.aborted) return { kind: 'cancelled' };
  const output = readContainerOutput(await engine.attach(id), request.onOutput);
  try {
    const since = host.clock.now();
    await start(host, id, request);
    const end = await supervise(host, id, request);
    if (!(await drained(host.clock, output))) request.onNote?.('a part of what the script printed was lost');
    if (end.kind !== 'exited') return end;
    const state = await engine.inspect(id);
    if (state === undefined) throw lost('it was removed');
    const { exitCode } = end;
    if (exitCode !== 0 && state.oomKilled) {
      return { kind: 'out_of_memory', exitCode, limit: needs.memoryText };
    }
    if (outsideCodes.has(exitCode) && (await wasEndedFromOutside(host, id, since))) {
      throw lost('somebody ended it, or the engine is being stopped');
    }
    return end;
  } finally {
    output.close();
  }
}

/** What a shell's end by SIGTERM and by SIGKILL looks like: a script that did this itself has failed. */
const outsideCodes: ReadonlySet<number> = new Set([143, 137]);

async function wasEndedFromOutside(host: ContainerHost, id: string, since: number): Promise<boolean> {
  try {
    return await host.engine.wasSignalled(id, since - 1000, host.clock.now());
  } catch (error) {
    // Stopping, or gone: its containers went before it.
    throw lost(messageOf(error));
  }
}

/** @throws AppError `unavailable`, after the script was said to run where it may be running */
async function start(host: ContainerHost, id: string, request: ScriptRequest): Promise<void> {
  try {
    await host.engine.start(id);
  } catch (error) {
    if (!isAppError(error)) throw error;
    if (isUnanswered(error)) {
      request.onStarted();
      throw lost(error.message);
    }
    throw new AppError('unavailable', error.message, { cause: error });
  }
  request.onStarted();
}

async function supervise(host: ContainerHost, id: string, request: ScriptRequest): Promise<ScriptEnd> {
  const { promise: wanted, resolve: endIt } = Promise.withResolvers<'timed_out' | 'cancelled'>();
  const cancel = (): void => endIt('cancelled');
  const stopAlarm = setAlarm(request.timeoutMs, () => endIt('timed_out'));
  request.signal.addEventListener('abort', cancel, { once: true });
  if (request.signal.aborted) cancel();
  const exited = host.engine.wait(id).then((exitCode): ScriptEnd => ({ kind: 'exited', exitCode }));
  exited.catch(() => undefined);
  try {
    const first = await Promise.race([exited, wanted]);
    if (typeof first !== 'string') return first;
    await host.engine.stop(id, host.graceMs);
    return { kind: first };
  } catch (error) {
    throw lost(messageOf(error));
  } finally {
    stopAlarm();
    request.signal.removeEventListener('abort', cancel);
  }
}

function lost(reason: string): AppError {
  return new AppError('unavailable', `the script's container went out of sight while it ran: ${reason}`);
}
