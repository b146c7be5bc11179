import type { Terms } from '../bus/delivery-rules.ts';
import type { ConsumerSpec } from '../bus/index.ts';
import { catalogue, type MessageName, subjectToken } from '../contracts/index.ts';
import { isAppError } from '../errors/index.ts';
import type { NatsBusParts } from './nats-bus.ts';
import { type ConsumerDefinition, ensureConsumer } from './nats-consumers.ts';
import { nameIn, notifyStreamName } from './nats-names.ts';
import { streamNames } from './nats-streams.ts';
import type { Reading } from './nats-subscribe.ts';

/** Consumers of events: kept as long as events are, so that a reader that is away misses nothing that is there. */
const forgetReaderMs = 14 * 86_400_000;
/** Consumers of notifications: one that nobody reads holds up what all others are done with. */
const forgetNotifyMs = 86_400_000;

/** The consumers that a subscription reads from: one a command, one for all events, one for events that are redriven to it. */
export function readingsOf(spec: ConsumerSpec, terms: Terms, parts: NatsBusParts): readonly Reading[] {
  const names = [...new Set(spec.names)];
  const events = names.filter((name) => catalogue[name].kind === 'evt');
  return [
    ...names
      .filter((name) => catalogue[name].kind === 'cmd')
      .flatMap((name) => commandReadings(name, terms, parts)),
    ...(events.length === 0 ? [] : eventReadings(events, terms, parts)),
  ];
}

function commandReadings(name: MessageName, { leaseMs }: Terms, parts: NatsBusParts): readonly Reading[] {
  const { names, notifySubject } = parts;
  const subject = names.subject('cmd', name, ...(catalogue[name].keyed ? ['*'] : []));
  const stream = streamNames(names).command(name);
  // By its one owner, under whatever name: the next one goes on where the last one stopped.
  const own = { stream, consumer: 'all', filters: [subject], leaseMs, fromNow: false };
  const nameOf = (): MessageName => name;
  if (name !== 'storage.notify' || notifySubject === undefined) return [reading(own, nameOf, parts)];
  const shared = {
    stream: notifyStreamName(notifySubject),
    // One for each installation that shares the server.
    consumer: subjectToken(names.stream('NOTIFY')),
    filters: [notifySubject],
    leaseMs,
    fromNow: false,
    forgetAfterMs: forgetNotifyMs,
  };
  return [reading(own, nameOf, parts), reading(shared, nameOf, parts)];
}

function eventReadings(
  events: readonly MessageName[],
  { durable, leaseMs }: Terms,
  parts: NatsBusParts,
): readonly Reading[] {
  const { names } = parts;
  const streams = streamNames(names);
  const consumer = subjectToken(durable);
  const filters = events.map((name) => names.subject('evt', name, ...(catalogue[name].keyed ? ['*'] : [])));
  const common = { consumer, leaseMs, forgetAfterMs: forgetReaderMs };
  const redriven = names.subject('redrive', consumer, '>');
  return [
    reading({ ...common, stream: streams.events, filters, fromNow: true }, (it) => nameIn(it, 3), parts),
    reading(
      { ...common, stream: streams.redrive, filters: [redriven], fromNow: false },
      (it) => nameIn(it, 4),
      parts,
    ),
  ];
}

function reading(
  definition: ConsumerDefinition,
  nameOf: (subject: string) => MessageName | undefined,
  { jsm, log, ensureStreams }: NatsBusParts,
): Reading {
  const { stream, consumer } = definition;
  return {
    source: { stream, consumer, nameOf },
    ensure: async () => {
      try {
        await ensureConsumer(jsm, definition, log);
      } catch (error) {
        if (!isAppError(error, 'not_found')) throw error;
        // The stream is gone: a server that lost its disk.
        await ensureStreams();
        await ensureConsumer(jsm, definition, log);
      }
    },
  };
}
