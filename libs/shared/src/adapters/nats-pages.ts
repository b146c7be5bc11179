import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { AppError } from '../errors/index.ts';
import type { StoredMessage } from './nats-messages.ts';
import type { Requests } from './nats-requests.ts';

/** What the server takes at once. */
const batch = 500;

/** Up to 500 messages of a stream from a place on, oldest first. */
export async function readPage(
  requests: Requests,
  stream: string,
  from: number,
  max = batch,
): Promise<readonly StoredMessage[]> {
  const wanted = Math.min(max, batch);
  const query = JSON.stringify({ seq: from, batch: wanted });
  // One more than wanted: the server says at the end that there is no more.
  const { messages, status } = await requests.collect(`$JS.API.DIRECT.GET.${stream}`, query, wanted + 1);
  if (status !== 0 && status !== 204 && status !== 404) {
    throw new AppError('unavailable', `Cannot read the stream ${stream}: NATS answers ${status}.`, {
      retryAfterSeconds: 1,
    });
  }
  return messages.map(toStored);
}

function toStored({ headers, data }: Msg): StoredMessage {
  return {
    subject: last(headers, 'Nats-Subject'),
    sequence: Number(last(headers, 'Nats-Sequence')),
    headers,
    data,
  };
}

function last(headers: MsgHdrs | undefined, name: string): string {
  return headers?.last(name) ?? '';
}

/** All messages of a stream, oldest first. */
export async function* readAll(requests: Requests, stream: string): AsyncGenerator<StoredMessage> {
  let from = 1;
  for (;;) {
    const page = await readPage(requests, stream, from);
    yield* page;
    const end = page.at(-1);
    if (end === undefined) return;
    from = end.sequence + 1;
  }
}

/**
 * The newest messages of a stream before a place, newest first. Streams are read forwards only: spans are halved until one is
 * small enough to be read whole, and spans without messages cost one request each.
 */
export async function readNewest(
  requests: Requests,
  stream: string,
  range: { readonly first: number; readonly before: number },
  max: number,
): Promise<readonly StoredMessage[]> {
  const found: StoredMessage[] = [];
  const spans = [{ from: range.first, to: range.before - 1 }];
  for (let span = spans.pop(); span !== undefined && found.length < max; span = spans.pop()) {
    if (span.to < span.from) continue;
    const length = span.to - span.from + 1;
    if (length <= batch) {
      const page = await readPage(requests, stream, span.from, length);
      found.push(...page.filter(({ sequence }) => sequence <= (span?.to ?? 0)).reverse());
      continue;
    }
    const [next] = await readPage(requests, stream, span.from, 1);
    if (next === undefined || next.sequence > span.to) continue;
    // The newest `max` lie at the end, most often close together.
    const middle = Math.max(
      next.sequence,
      length > 4 * batch ? span.to - Math.floor(length / 4) : span.to - batch,
    );
    spans.push({ from: next.sequence, to: middle }, { from: middle + 1, to: span.to });
  }
  return found.slice(0, max);
}
