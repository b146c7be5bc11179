import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { kubectl, type ComponentProcess } from './distributed.ts';

/** Kills processes at random and starts them again, until it is stopped. */
export interface Chaos {
  /** By component. */
  readonly kills: Readonly<Record<string, number>>;
  /** Kills nothing more; resolves when every process is started and ready. */
  stop(): Promise<void>;
}

/** @param pauseMs longest time between two kills; now and then a process is killed before it is ready */
export function startChaos(components: readonly ComponentProcess[], pauseMs: number): Chaos {
  const stopping = new AbortController();
  const kills: Record<string, number> = {};
  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await delay(randomInt(pauseMs), undefined, { signal: stopping.signal }).catch(() => undefined);
      const victim = components[randomInt(components.length)];
      if (victim === undefined || stopping.signal.aborted) continue;
      await victim.stop('SIGKILL');
      kills[victim.name] = (kills[victim.name] ?? 0) + 1;
      await delay(randomInt(pauseMs));
      victim.launch();
      // Mostly it gets to work again, so that there is progress on a slow machine; else the next one dies while this one starts.
      if (randomInt(3) > 0) await victim.ready();
    }
  };
  const running = loop();
  return {
    kills,
    stop: async () => {
      stopping.abort();
      await running;
      await Promise.all(components.map((one) => one.ready()));
    },
  };
}

/** Deletes pods at random without asking their nodes, a few times in all. */
export interface PodChaos {
  deleted(): number;
  stop(): Promise<void>;
}

export function startPodChaos(
  namespace: string,
  { pauseMs, atMost }: { readonly pauseMs: number; readonly atMost: number },
): PodChaos {
  const stopping = new AbortController();
  const { signal } = stopping;
  let deleted = 0;
  const open = ['--field-selector=status.phase!=Succeeded,status.phase!=Failed', '-o', 'name'];
  const loop = async (): Promise<void> => {
    while (!signal.aborted && deleted < atMost) {
      await delay(randomInt(pauseMs), undefined, { signal }).catch(() => undefined);
      const listed = await kubectl('get', 'pods', '-n', namespace, ...open);
      const pods = listed.split('\n').filter((name) => name !== '');
      const victim = pods[randomInt(pods.length + 1)];
      if (victim === undefined || signal.aborted) continue;
      const now = ['--grace-period=0', '--force', '--wait=false', '--ignore-not-found'];
      await kubectl('delete', victim, '-n', namespace, ...now);
      deleted += 1;
    }
  };
  const running = loop();
  // Told by `stop`, however early it comes.
  running.catch(() => undefined);
  return {
    deleted: () => deleted,
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
