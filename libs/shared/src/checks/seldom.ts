import type { ComponentCheck } from '../contracts/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Look } from './look.ts';

/** The same look, which repeats what it found until so much time is over: for what costs more than a question. A look that failed, or found nothing to look at, is not kept. */
export function seldom(look: Look, everyMs: number, clock: Clock): Look {
  let last: { readonly found: readonly ComponentCheck[]; readonly at: number } | undefined;
  return {
    ...look,
    look: async () => {
      if (last !== undefined && clock.monotonic() - last.at < everyMs) return last.found;
      const found = await look.look();
      if (found.length > 0) last = { found, at: clock.monotonic() };
      return found;
    },
  };
}
