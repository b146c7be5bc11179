import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { ComponentProcess } from './distributed.ts';

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
