import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits until `look` gives something other than undefined or false, and gives that back. Instead of a sleep: as quick as
 * the thing itself, and a clear failure where it never comes.
 * @param what for the failure: `the message comes again`
 */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(5);
  }
}
