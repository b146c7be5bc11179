import { join } from 'node:path';
import { runnerToken, type RunnerPlan } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunnerLog } from '../app/runner-log.ts';
import type { ScriptRunner } from '../ports.ts';

/** The one call that a runner has in hand. */
export interface CallInHand {
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/** One runner of a server: its calls, one at a time, and its log. */
export interface HostedRunner {
  readonly plan: RunnerPlan;
  readonly token: string;
  readonly scripts: ScriptRunner;
  readonly log: RunnerLog;
  state: 'ready' | 'draining' | 'ended';
  inHand: CallInHand | undefined;
  /** What is left of the last call: the next begins after it. */
  settling: Promise<void>;
  /** Folders of its calls are named by it. */
  calls: number;
  /** Of its end, monotonic. */
  endedAt: number;
}

export function createHostedRunner(
  plan: RunnerPlan,
  parts: { readonly key: string; readonly scripts: ScriptRunner; readonly log: RunnerLog },
): HostedRunner {
  return {
    plan,
    token: runnerToken(parts.key, plan.runner_id),
    scripts: parts.scripts,
    log: parts.log,
    state: 'ready',
    inHand: undefined,
    settling: Promise.resolve(),
    calls: 0,
    endedAt: 0,
  };
}

/** The folder of a runner's next call. */
export function nextWorkDir(runner: HostedRunner, workRoot: string): string {
  runner.calls += 1;
  return join(workRoot, runner.plan.runner_id, String(runner.calls));
}

/** Takes no new call, lets the one in hand end within the time, then ends it. Afterwards nothing of its calls is left. */
export async function drainRunner(runner: HostedRunner, clock: Clock, drainMs: number): Promise<void> {
  if (runner.state === 'ready') runner.state = 'draining';
  const { inHand } = runner;
  if (inHand !== undefined) {
    const timer = new AbortController();
    const timeout = clock.sleep(drainMs, timer.signal).catch(() => undefined);
    await Promise.race([inHand.ended, timeout]);
    timer.abort();
    inHand.abort.abort();
    await inHand.ended;
  }
  await runner.settling;
  if (runner.state !== 'ended') runner.endedAt = clock.monotonic();
  runner.state = 'ended';
}
