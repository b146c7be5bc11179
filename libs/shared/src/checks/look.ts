import type { ComponentCheck } from '../contracts/index.ts';
import { AppError, messageOf } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { bounded, fault } from './check.ts';

/** One thing to look at: a server, or a part of the installation. */
export interface Look {
  /** Of the check that says that the look itself failed. */
  readonly name: string;
  /** What to do then. */
  readonly mend: string;
  /** What was found; where it rejects, that is what was found. */
  look(): Promise<readonly ComponentCheck[]>;
}

/** A server that answers nothing must not keep the others' findings back. */
const patienceMs = 6000;

/**
 * Looks at everything at once. Never rejects: what cannot be looked at is a fault. A look that has not come back is not begun again, so that
 * a server that hangs is asked once.
 */
export function createLooks(
  looks: readonly Look[],
  { clock }: { readonly clock: Clock },
): () => Promise<ComponentCheck[]> {
  const underWay = new Map<Look, Promise<readonly ComponentCheck[]>>();
  const begin = (one: Look): Promise<readonly ComponentCheck[]> => {
    const known = underWay.get(one);
    if (known !== undefined) return known;
    const looking = one.look().finally(() => underWay.delete(one));
    underWay.set(one, looking);
    return looking;
  };
  return async () => {
    const found = await Promise.all(looks.map(async (one) => lookOnce(one, begin, clock)));
    return bounded(found.flat());
  };
}

async function lookOnce(
  one: Look,
  begin: (one: Look) => Promise<readonly ComponentCheck[]>,
  clock: Clock,
): Promise<readonly ComponentCheck[]> {
  const over = new AbortController();
  try {
    const late = async (): Promise<never> => {
      await clock.sleep(patienceMs, over.signal);
      throw new AppError('unavailable', `No answer for ${patienceMs / 1000} s.`);
    };
    return await Promise.race([begin(one), late()]);
  } catch (error) {
    return [fault(one.name, messageOf(error), one.mend)];
  } finally {
    over.abort();
  }
}
