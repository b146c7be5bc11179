/** The one queue of the builder: builds, and what runs at times. */
export const bullQueueName = 'builds';

/** Name of the jobs that are builds; their ids are the builds'. */
export const jobOfBuild = 'build';

/** Lower ones go first; 0 would go before all. */
export const greatestPriority = 2_097_151;

/** Prefix of BullMQ's keys, in the slot of the namespace's own. */
export function bullPlace(namespace: string): string {
  return `{${namespace}}:bull`;
}

/** Ids that BullMQ takes: colons are its own, and plain numbers are those that it gives itself. */
export function isBullId(id: string): boolean {
  return /^[\w-]+$/.test(id) && !/^\d+$/.test(id);
}
