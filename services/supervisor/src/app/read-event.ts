import type { Payload } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import { SYSTEM_BUCKET, type ObjectStore } from '@sluice/shared/stores';
import { AttemptStop, stopForStore } from '../domain/attempt-stop.ts';

/**
 * The event's bytes, from the plan itself or from the system bucket.
 * @param limit bytes
 * @throws AttemptStop `event_missing`, `event_too_large`, `store_unavailable`
 */
export async function readEvent(
  objects: Pick<ObjectStore, 'get'>,
  event: Payload,
  limit: number,
  signal: AbortSignal,
): Promise<Uint8Array | string> {
  if (event.kind === 'inline') {
    return event.encoding === 'utf8' ? event.data : Buffer.from(event.data, 'base64');
  }
  if (event.size > limit) throw tooLarge(limit);
  try {
    const { body } = await objects.get(SYSTEM_BUCKET, event.key, { signal });
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > limit) throw tooLarge(limit);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    if (isAppError(error, 'not_found')) {
      throw new AttemptStop('event_missing', "the run's event is no longer stored", { cause: error });
    }
    throw stopForStore(error, 'event_missing', "the run's event could not be read");
  }
}

function tooLarge(limit: number): AttemptStop {
  return new AttemptStop('event_too_large', `the event is larger than ${limit} bytes: upload it as a file`);
}
