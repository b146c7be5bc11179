/** One service with messages waiting. */
export interface Candidate {
  readonly key: string;
  readonly waiting: number;
}

/**
 * Whose turn it is, one start at a time: round-robin over the services that have something waiting, going on after
 * the one that was served last, so that a service with a million files delays another one's single file by one turn.
 */
export interface Rotation {
  /** Next service in turn, or undefined when none wants a start. */
  next(): string | undefined;
  /** The service can't be served in this round (no room for its size, its own limit); it keeps its turn for the next round. */
  skip(key: string): void;
}

/** @param last the service that was served last in the round before */
export function createRotation(candidates: readonly Candidate[], last: string | undefined): Rotation {
  const sorted = [...candidates].sort((a, b) => (a.key < b.key ? -1 : 1));
  const start = last === undefined ? 0 : sorted.findIndex((candidate) => candidate.key > last);
  const order = start <= 0 ? sorted : [...sorted.slice(start), ...sorted.slice(0, start)];
  const left = new Map(order.map((one) => [one.key, one.waiting]));
  const turns = order.map((one) => one.key);
  return {
    next: () => {
      for (let tried = turns.length; tried > 0; tried -= 1) {
        const key = turns.shift();
        if (key === undefined) return undefined;
        const remaining = left.get(key) ?? 0;
        if (remaining <= 0) continue;
        left.set(key, remaining - 1);
        turns.push(key);
        return key;
      }
      return undefined;
    },
    skip: (key) => {
      left.set(key, 0);
    },
  };
}
