import type { BuildChanged } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLogs } from '@sluice/shared/stores';
import type { BuildQueue, BuildStore, StoredBuild } from '../ports.ts';

export interface TidyDeps {
  readonly store: Pick<BuildStore, 'open' | 'end' | 'removeEnded'>;
  readonly queue: Pick<BuildQueue, 'add' | 'remove'>;
  readonly logs: Pick<RunLogs, 'remove'>;
  readonly waitMs: number;
  readonly retentionMs: number;
  readonly say: (change: BuildChanged, traceparent: string | undefined) => Promise<void>;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * What no request and no worker does: a build that was stored and never got into the queue goes there, one that waited too long expires, and
 * what ended long ago is removed. Any number of processes may do it at once.
 */
export async function tidyBuilds(deps: TidyDeps): Promise<void> {
  const { store, queue, clock } = deps;
  for (const build of await store.open()) {
    if (build.state === 'queued' && clock.now() - build.createdAt > deps.waitMs) await expire(deps, build);
    // Also one that is said to run: its worker may have died with the queue's memory. What is there is left as it is.
    else await queue.add(build);
  }
  const { builds } = await store.removeEnded(clock.now() - deps.retentionMs);
  await deps.logs.remove(builds.map(({ user, id }) => ({ service: user, runId: id })));
}

async function expire({ store, queue, waitMs, say, clock }: TidyDeps, build: StoredBuild): Promise<void> {
  const minutes = Math.round(waitMs / 60_000);
  const message = `It waited for more than ${minutes} minutes. Ask again, or let more builds run at once.`;
  await queue.remove(build.id);
  const { ended } = await store.end(build.id, { state: 'expired', code: 'expired', message });
  if (ended.length === 0) return;
  const { id, spec, tickets } = build;
  const at = clock.now();
  await say(
    { build: id, user: spec.user, tickets: [...tickets], state: 'expired', at, message },
    spec.traceparent,
  );
}
