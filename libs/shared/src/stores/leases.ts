/**
 * Who of several processes does what one of them is enough for. A lease saves effort, and nothing more: what is done under it must bear being done twice.
 */
export interface Leases {
  /**
   * Takes a lease that is free, or keeps the one in hand.
   * @param name `<component>-<purpose>`, with a key where there are several
   * @param forMs milliseconds from now after which another process may take it
   * @returns whether it is this process's now; false also while it cannot be known
   */
  hold(name: string, forMs: number): Promise<boolean>;
  /** Lets go of it, if it is this process's. Must not reject. */
  release(name: string): Promise<void>;
}

/** Where there is one process, all leases are its own. */
export function createSoleLeases(): Leases {
  return { hold: () => Promise.resolve(true), release: () => Promise.resolve() };
}
