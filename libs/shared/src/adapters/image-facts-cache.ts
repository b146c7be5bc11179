import { isAppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { ImageFacts, RegistryClient } from './registry-client.ts';

export interface ImageFactsCacheOptions {
  readonly client: Pick<RegistryClient, 'imageFacts'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Milliseconds after which a tag is looked up again. @default 300000 */
  readonly ttlMs?: number;
  /** Milliseconds after which a failure is. @default 10000 */
  readonly failureMs?: number;
  /** @default 1000 */
  readonly size?: number;
}

interface Entry {
  readonly facts: Promise<ImageFacts>;
  /** Monotonic; unknown while it is asked for. */
  until: number | undefined;
}

/** Longest that a registry is left alone because it asked for it, milliseconds. */
const maxPauseMs = 600_000;

/** Looks an image up once for all who ask, and again after a while; failures are kept for a moment, so that a crowd of them stays off the registry. */
export function createImageFactsCache(
  options: ImageFactsCacheOptions,
): (reference: string) => Promise<ImageFacts> {
  const { client, clock, ttlMs = 300_000, failureMs = 10_000, size = 1000 } = options;
  const entries = new Map<string, Entry>();
  const ask = (reference: string): Entry => {
    const entry: Entry = { facts: client.imageFacts(reference), until: undefined };
    entry.facts.then(
      () => {
        entry.until = clock.monotonic() + ttlMs;
      },
      (error: unknown) => {
        const asked = isAppError(error) ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
        entry.until = clock.monotonic() + Math.min(Math.max(failureMs, asked), maxPauseMs);
      },
    );
    return entry;
  };
  return (reference) => {
    const known = entries.get(reference);
    const isGood = known !== undefined && (known.until === undefined || clock.monotonic() < known.until);
    const entry = isGood ? known : ask(reference);
    // The one asked for last is last to go.
    entries.delete(reference);
    entries.set(reference, entry);
    const [oldest] = entries.keys();
    if (entries.size > size && oldest !== undefined) entries.delete(oldest);
    return entry.facts;
  };
}
