import { AppError } from '@sluice/shared/errors';
import type { Reservation, RunnerHost } from '../src/index.ts';
import { openProcessRunners } from './local-runners.ts';

export interface SharedRunners {
  readonly key: string;
  /** All runners there are. */
  readonly all: RunnerHost;
  /** The host as one replica has it. */
  view(): RunnerHost;
  close(): Promise<void>;
}

/** What a cluster is to several schedulers, with processes for pods: they outlive whoever started them. */
export async function openSharedRunners(limit = 8): Promise<SharedRunners> {
  const inner = await openProcessRunners(limit);
  const views = new Set<(runnerId: string, reason: string) => void>();
  inner.host.onExit((runnerId, reason) => {
    for (const tell of views) tell(runnerId, reason);
  });
  return { key: inner.key, all: inner.host, view: () => viewOf(inner.host, views), close: inner.close };
}

const nobodys: Reservation = { release: () => undefined };

function viewOf(all: RunnerHost, views: Set<(runnerId: string, reason: string) => void>): RunnerHost {
  /** Those that this replica looks after. */
  const mine = new Map<string, Reservation>();
  let closed = false;
  let exit: (runnerId: string, reason: string) => void = () => undefined;
  const take = (runnerId: string, reservation: Reservation): void => {
    const known = mine.get(runnerId);
    if (known !== reservation) known?.release();
    mine.set(runnerId, reservation);
  };
  const drop = (runnerId: string): boolean => {
    mine.get(runnerId)?.release();
    return mine.delete(runnerId);
  };
  views.add((runnerId, reason) => {
    if (drop(runnerId)) exit(runnerId, reason);
  });
  const attach = async (
    runnerId: string,
    reservation: Reservation,
    started: () => Promise<{ readonly url: string }>,
  ): Promise<{ readonly url: string }> => {
    if (closed) throw new AppError('unavailable', 'The server is stopping.');
    take(runnerId, reservation);
    try {
      const { url } = await started();
      if (mine.get(runnerId) !== reservation)
        throw new AppError('cancelled', 'Another process looks after it.');
      return { url };
    } catch (error) {
      if (mine.get(runnerId) === reservation) drop(runnerId);
      throw error;
    }
  };
  return {
    kind: all.kind,
    limit: all.limit,
    shared: true,
    start: (plan, reservation) => attach(plan.runner_id, reservation, () => all.start(plan, nobodys)),
    adopt: (runnerId, reservation) => attach(runnerId, reservation, () => all.adopt(runnerId, nobodys)),
    stop: async (runnerId, drainMs) => {
      await all.stop(runnerId, drainMs);
      drop(runnerId);
    },
    runners: () => all.runners(),
    isBusy: (runnerId) => all.isBusy(runnerId),
    onExit: (listener) => {
      exit = listener;
    },
    leave: () => {
      for (const runnerId of mine.keys()) drop(runnerId);
      return Promise.resolve();
    },
    close: async (drainMs) => {
      closed = true;
      await all.leave(drainMs);
      for (const runnerId of mine.keys()) drop(runnerId);
    },
  };
}
