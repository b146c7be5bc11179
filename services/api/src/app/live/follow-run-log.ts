import { isFinal, type Run } from '@sluice/shared/contracts';
import type { RunLogs } from '@sluice/shared/stores';
import { followLog } from './follow-log.ts';
import { runStateData, type FollowDeps, type Following } from './follow-runs.ts';
import { eventForm } from './log-forms.ts';

/** A run's log as server-sent events while it is written, then `end` with the run's final state. */
export async function* followRunLog(
  run: Run,
  from: { readonly offset: number; readonly timestamps: boolean },
  deps: FollowDeps & {
    readonly logs: Pick<RunLogs, 'read'>;
    readonly read: (id: string) => Promise<Run | undefined>;
  },
  following: Following,
): AsyncGenerator<string> {
  const { feed, clock, logs } = deps;
  const ref = { service: run.service, runId: run.id };
  await feed.open();
  const log = {
    read: (query: { offset: number; limit: number }) => logs.read(ref, query),
    look: () => deps.read(run.id),
    hasEnded: (now: Run) => isFinal(now.state),
    // Its events ring the bell.
    lookMs: Number.POSITIVE_INFINITY,
    // The log of a run that has ended is always completed.
    lingerMs: Number.POSITIVE_INFINITY,
  };
  const form = eventForm<Run>(from.timestamps, runStateData);
  const bell = feed.bell(run.id);
  yield* followLog(run, { offset: from.offset, follow: true }, { log, form, bell, clock }, following);
}
