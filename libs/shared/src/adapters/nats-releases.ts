import type { JetStreamManager } from '@nats-io/jetstream';
import type { MsgHdrs } from '@nats-io/transport-node';
import { fromNatsError } from './nats-errors.ts';
import type { ReceivedMessage } from './nats-messages.ts';
import type { NatsNames } from './nats-names.ts';
import type { Publisher } from './nats-publish.ts';
import { streamNames } from './nats-streams.ts';

type Place = Pick<ReceivedMessage, 'stream' | 'consumer' | 'sequence' | 'storedAt'>;

/**
 * How many deliveries of a message do not count as attempts, since they were given back. The server counts every delivery and
 * forgets nothing in a restart; what is to be taken off is written down here before a message is given back, and read
 * only when a message comes again. A crash in between leaves a delivery uncounted, never a message stranded.
 */
export interface Releases {
  of(place: Place): Promise<number>;
  note(place: Place, count: number): Promise<void>;
}

export function createReleases(deps: {
  readonly jsm: JetStreamManager;
  readonly publisher: Publisher;
  readonly names: NatsNames;
  readonly headers: () => MsgHdrs;
}): Releases {
  const { jsm, publisher, names } = deps;
  const stream = streamNames(names).released;
  // The time as well: a stream that was made anew begins at 1 again.
  const subjectOf = (place: Place): string =>
    names.subject('released', place.stream, place.consumer, String(place.sequence), place.storedAt);
  return {
    of: async (place) => {
      try {
        // Of the leader, which knows the latest; a direct read may be behind.
        const found = await jsm.streams.getMessage(stream, { last_by_subj: subjectOf(place) });
        return Number(found?.string() ?? 0) || 0;
      } catch (error) {
        throw fromNatsError(error, 'read how often a message was given back');
      }
    },
    note: async (place, count) =>
      publisher.send([
        {
          subject: subjectOf(place),
          data: String(count),
          headers: deps.headers(),
          what: 'note that a message is given back',
        },
      ]),
  };
}
