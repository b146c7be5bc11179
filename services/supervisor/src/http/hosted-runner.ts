import type { RunnerPlan } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunnerLog } from '../app/runner-log.ts';
import type { CallFolders } from '../files/call-folders.ts';
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
  readonly folders: CallFolders;
  /** What is left of the last call: the next begins after it. */
  settling: Promise<void>;
  /** Of its end, monotonic. */
  endedAt: number;
}

export function createHostedRunner(
  plan: RunnerPlan,
  parts: {
    readonly token: string;
    readonly scripts: ScriptRunner;
    readonly log: RunnerLog;
    readonly folders: CallFolders;
  },
): HostedRunner {
  return {
    plan,
    token: parts.token,
    scripts: parts.scripts,
    log: parts.log,
    folders: parts.folders,
    state: 'ready',
    inHand: undefined,
    settling: Promise.resolve(),
    endedAt: 0,
  };
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
  await runner.folders.close();
  if (runner.state !== 'ended') runner.endedAt = clock.monotonic();
  runner.state = 'ended';
}
