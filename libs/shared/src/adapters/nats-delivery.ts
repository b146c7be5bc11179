import type { Msg } from '@nats-io/transport-node';
import { backoffMs, longestBackoffMs, longestDelayMs, type Terms } from '../bus/delivery-rules.ts';
import type { Delivery, IncomingMessage } from '../bus/index.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import type { MessageName } from '../contracts/index.ts';
import { isAppError, messageOf } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Nats } from './nats-connection.ts';
import type { Bury } from './nats-dead-letters.ts';
import { type ReceivedMessage, readMessage } from './nats-messages.ts';
import type { Releases } from './nats-releases.ts';
import type { Requests } from './nats-requests.ts';

/** A consumer of the server, and what its messages are. */
export interface Source {
  readonly stream: string;
  readonly consumer: string;
  /** Undefined for a subject that this version does not know. */
  readonly nameOf: (subject: string) => MessageName | undefined;
}

/** Who hands out deliveries. */
export interface Holder {
  readonly terms: Terms;
  /** Deliveries that were taken and are not settled. */
  inFlight: number;
  /** Called when one of them ended. */
  ended(how: Ending): void;
}

/** The message is gone, comes again at once, or is put off until then (monotonic). */
export type Ending = 'gone' | 'again' | number;

/** A message in hand. The server keeps the lease; this is our side of it. */
interface Lease {
  readonly place: string;
  readonly holder: Holder;
  readonly received: ReceivedMessage;
  readonly message: IncomingMessage;
  readonly attempt: number;
  /** Deliveries of this message that do not count. */
  readonly released: number;
  until: number;
  /** False once it was settled, its time is over, or the message was delivered again. */
  live: boolean;
}

export interface DeliveriesOptions {
  readonly nats: Nats;
  readonly requests: Requests;
  readonly releases: Releases;
  readonly bury: Bury;
  readonly codec: MessageCodec;
  readonly clock: Clock;
  readonly log: Logger;
  /** From 0 up to 1. */
  readonly random: () => number;
}

export interface Deliveries {
  /**
   * Takes a message that the server sent; undefined where it went to the dead letters instead. `inFlight` of the holder counts it
   * from its first step on.
   */
  receive(source: Source, holder: Holder, raw: Msg): Promise<Delivery | undefined>;
  /** Gives back what of these is still in hand. Whoever works on one may still acknowledge it. */
  giveBack(deliveries: Iterable<Delivery>): Promise<void>;
  /** Gives back all that is in hand under these terms. */
  giveBackAll(terms: Terms): Promise<void>;
  /** Gives back a message that nobody here wants any more. */
  refuse(source: Source, raw: Msg): Promise<void>;
}

const ack = '+ACK';
const notNow = '-NAK';
const working = '+WPI';
const gone = '+TERM';

export function createDeliveries(options: DeliveriesOptions): Deliveries {
  const book = createBook(options);
  const leaseOf = new WeakMap<Delivery, Lease>();
  return {
    receive: async (source, holder, raw) => {
      const until = options.clock.monotonic() + holder.terms.leaseMs;
      holder.inFlight += 1;
      let lease: Lease | undefined;
      try {
        lease = await open(source, holder, raw, until, options);
      } catch (error) {
        options.log.warn(
          { err: error, consumer: holder.terms.durable },
          'delivery not taken, it comes again',
        );
      }
      if (lease === undefined) {
        holder.inFlight -= 1;
        holder.ended('gone');
        return undefined;
      }
      book.begin(lease);
      const delivery = toDelivery(lease, book, options);
      leaseOf.set(delivery, lease);
      return delivery;
    },
    giveBack: async (deliveries) => {
      const leases = [...deliveries].flatMap((delivery) => leaseOf.get(delivery) ?? []);
      await Promise.all(leases.map(async (lease) => release(lease, book, options)));
    },
    giveBackAll: async (terms) => {
      const leases = book.all().filter(({ holder }) => holder.terms === terms);
      await Promise.all(leases.map(async (lease) => release(lease, book, options)));
    },
    refuse: async (source, raw) => {
      const received = readMessage(source, raw);
      const released = await releasedOf(received, options);
      await options.releases.note(received, released + 1);
      await options.requests.ask(received.reply, notNow);
    },
  };
}

async function releasedOf(received: ReceivedMessage, { releases }: DeliveriesOptions): Promise<number> {
  return received.deliveries > 1 ? releases.of(received) : 0;
}

/** Undefined where the message is not for a handler: it is dead, or was put off. */
async function open(
  source: Source,
  holder: Holder,
  raw: Msg,
  until: number,
  options: DeliveriesOptions,
): Promise<Lease | undefined> {
  const received = readMessage(source, raw);
  const released = await releasedOf(received, options);
  const attempt = Math.max(1, received.deliveries - released);
  const { maxAttempts } = holder.terms;
  if (attempt > maxAttempts) {
    // Left by a process that died during the last one, or did not settle it in time.
    const reason = `not settled in ${maxAttempts} deliveries`;
    await buryReceived(received, holder, { attempts: maxAttempts, reason }, options);
    return undefined;
  }
  try {
    const message = received.decode(options.codec);
    const place = `${source.stream} ${source.consumer} ${received.sequence}`;
    return { place, holder, received, message, attempt, released, until, live: true };
  } catch (error) {
    if (!isAppError(error, 'unprocessable')) throw error;
    await buryReceived(received, holder, { attempts: attempt, reason: messageOf(error) }, options);
    return undefined;
  }
}

/** Stores the dead letter first: what ends between the two steps is stored once all the same. */
async function buryReceived(
  received: ReceivedMessage,
  { terms }: Holder,
  death: { readonly attempts: number; readonly reason: string },
  { bury, requests, log }: DeliveriesOptions,
): Promise<void> {
  const fields = {
    message_id: received.id,
    message_name: received.name,
    consumer: terms.durable,
    ...death,
  };
  try {
    await bury(received, { consumer: terms.durable, ...death });
  } catch (error) {
    if (!isAppError(error, 'limit_reached') && !isAppError(error, 'storage_full')) throw error;
    // Nothing is dropped for want of room: it waits, to be buried later.
    await requests.ask(received.reply, putOff(longestBackoffMs));
    log.error(fields, 'dead letters are full');
    return;
  }
  await requests.ask(received.reply, gone);
  log.warn(fields, 'message went to the dead letters');
}

function putOff(ms: number): string {
  return ms > 0 ? `${notNow} {"delay": ${Math.round(ms * 1_000_000)}}` : notNow;
}

async function release(lease: Lease, book: Book, { releases, requests }: DeliveriesOptions): Promise<void> {
  if (!lease.live) return;
  await releases.note(lease.received, lease.released + 1);
  await requests.ask(lease.received.reply, notNow);
  book.end(lease, 'again');
}

/** A lease as the port shows it. */
function toDelivery(lease: Lease, book: Book, options: DeliveriesOptions): Delivery {
  const { received, holder, attempt } = lease;
  const { requests, nats, clock, random } = options;
  let done = false;
  /** Runs the first settlement that succeeds; later ones change nothing, and those of a lease that is over neither. */
  const settleHeld = async (work: () => Promise<void>): Promise<void> => {
    if (done || !lease.live) return;
    await work();
    done = true;
  };
  const die = async (reason: string): Promise<void> => {
    await buryReceived(received, holder, { attempts: attempt, reason }, options);
    book.end(lease, 'gone');
  };
  return {
    message: lease.message,
    attempt,
    // Counts even when the lease is over: the work was done.
    ack: async () => {
      if (done) return;
      await requests.ask(received.reply, ack);
      done = true;
      book.end(lease, 'gone');
      book.endOther(lease);
    },
    retry: async (reason, delayMs) =>
      settleHeld(async () => {
        if (attempt >= holder.terms.maxAttempts) return die(reason);
        const wait = Math.min(delayMs ?? backoffMs(attempt, random()), longestDelayMs);
        const until = clock.monotonic() + wait;
        await requests.ask(received.reply, putOff(wait));
        book.end(lease, wait > 0 ? until : 'again');
      }),
    release: async () => settleHeld(async () => release(lease, book, options)),
    deadLetter: async (reason) => settleHeld(async () => die(reason)),
    extend: async () => {
      if (!lease.live) return;
      nats.requireConnected();
      nats.connection.publish(received.reply, working);
      lease.until = clock.monotonic() + holder.terms.leaseMs;
    },
  };
}

/** Who has which message in hand. */
interface Book {
  begin(lease: Lease): void;
  end(lease: Lease, how: Ending): void;
  /** Ends a later lease of the same message: its work was done by the earlier one after all. */
  endOther(lease: Lease): void;
  all(): readonly Lease[];
}

const longestLookMs = 250;

function createBook({ clock }: DeliveriesOptions): Book {
  const leases = new Map<string, Lease>();
  let watching = false;
  const end = (lease: Lease, how: Ending): void => {
    if (!lease.live) return;
    lease.live = false;
    if (leases.get(lease.place) === lease) leases.delete(lease.place);
    lease.holder.inFlight -= 1;
    lease.holder.ended(how);
  };
  /** The server delivers what is over again; here its place becomes free. */
  const watch = async (): Promise<void> => {
    while (leases.size > 0) {
      let next = clock.monotonic() + longestLookMs;
      for (const { until } of leases.values()) next = Math.min(next, until);
      await clock.sleep(Math.max(10, next - clock.monotonic()));
      const now = clock.monotonic();
      for (const lease of leases.values()) if (lease.until <= now) end(lease, 'again');
    }
    watching = false;
  };
  return {
    begin: (lease) => {
      const earlier = leases.get(lease.place);
      if (earlier !== undefined) end(earlier, 'gone');
      leases.set(lease.place, lease);
      if (watching) return;
      watching = true;
      void watch();
    },
    end,
    endOther: (lease) => {
      const other = leases.get(lease.place);
      if (other !== undefined && other !== lease) end(other, 'gone');
    },
    all: () => [...leases.values()],
  };
}
