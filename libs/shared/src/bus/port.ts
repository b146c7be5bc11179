import type { HintName, MessageName } from '../contracts/index.ts';

/** A message on its way out. */
export interface OutgoingMessage {
  /** Deterministic; publishing an id again while the first is still known stores nothing. At most 200 characters. */
  readonly id: string;
  readonly name: MessageName;
  /** Bounded key of a keyed message: the service's name. */
  readonly key?: string;
  /** JSON, checked against the contract; the serialised form is at most 1 MiB. */
  readonly payload: unknown;
  readonly traceparent?: string;
}

/** A message as it is delivered. `payload` has been checked against its contract. */
export interface IncomingMessage {
  readonly id: string;
  readonly name: MessageName;
  readonly key: string | undefined;
  readonly payload: unknown;
  readonly traceparent: string | undefined;
}

/**
 * One delivery of a message, to be settled exactly once. An unsettled one comes again when its lease ends.
 * Settling may fail (the server is away): the message is then delivered again, so handlers are idempotent.
 */
export interface Delivery {
  readonly message: IncomingMessage;
  /** From 1; survives restarts. */
  readonly attempt: number;
  /** Resolves when the message is gone for good. */
  ack(): Promise<void>;
  /** Comes again after the delay (default: exponential back-off by attempt, with jitter), or goes to the dead letters when attempts are used up. */
  retry(reason: string, delayMs?: number): Promise<void>;
  /** Comes again as if this delivery had not been; does not count as an attempt. */
  release(): Promise<void>;
  /** To the dead letters, then gone. */
  deadLetter(reason: string): Promise<void>;
  /** Renews the lease; for work longer than a third of it. */
  extend(): Promise<void>;
}

/** A durable reader. Two with one `durable` name share the work. */
export interface ConsumerSpec {
  /** `<component>-<purpose>`. */
  readonly durable: string;
  readonly names: readonly MessageName[];
  /** Deliveries handed out and not settled, at most. */
  readonly maxInFlight: number;
  /** Deliveries of one message before it goes to the dead letters. @default 8 */
  readonly maxAttempts?: number;
  /** Milliseconds until an unsettled delivery comes again. @default 30000 */
  readonly leaseMs?: number;
}

/**
 * Settles by how the handler ends: return = ack, `AppError` with verdict `never` = dead letter, any other
 * error = retry with back-off until the attempts are used up, then dead letter.
 */
export type MessageHandler = (delivery: Delivery) => Promise<void>;

export interface Subscription {
  /** Takes nothing new, waits for handlers under way (at most `timeoutMs`), gives back the rest. */
  drain(timeoutMs: number): Promise<void>;
}

/** What waits under one key of a work queue. */
export interface Backlog {
  readonly key: string;
  /** Messages that could be fetched now, not counting those in hand. */
  readonly waiting: number;
}

/** A command stream read one key (service) at a time, so that the reader decides whose turn it is. */
export interface WorkQueue {
  /** Keys with messages that are ready now; at most one entry a service. */
  backlog(): Promise<readonly Backlog[]>;
  /** Up to `max` deliveries of one key, oldest first; empty when there are none. Does not wait. */
  fetch(key: string, max: number): Promise<readonly Delivery[]>;
  /** Calls back soon after messages became ready. A hint: it may be missed, doubled or late. */
  onArrival(listener: () => void): () => void;
  /**
   * All messages that are not done, of every key, oldest first: ready, put off or in anybody's hand. Takes none and changes nothing; what comes or goes
   * meanwhile may be left out. An emptied ledger is restored from them.
   */
  pending?(): AsyncIterable<IncomingMessage>;
  close(): Promise<void>;
}

export interface DeadLetter {
  readonly id: string;
  /** Id of the message that died. */
  readonly message_id: string;
  readonly name: string;
  readonly key?: string;
  readonly payload: unknown;
  readonly traceparent?: string;
  readonly consumer: string;
  readonly reason: string;
  readonly attempts: number;
  /** Epoch milliseconds. */
  readonly dead_at: number;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Pass it on as `cursor` for the next page; absent on the last. */
  readonly next?: string;
}

export interface DeadLetters {
  /** Newest first. */
  list(query: { limit: number; cursor?: string }): Promise<Page<DeadLetter>>;
  get(id: string): Promise<DeadLetter | undefined>;
  /**
   * Stores a message as dead that was refused before it was published (an object past its hops). The dead letter's id is
   * the message's; one that is there already is left as it is. `attempts` is 0.
   * @throws AppError `invalid_input` for a payload that breaks its contract, `too_large`, `limit_reached` when there are too many dead letters
   */
  put(message: OutgoingMessage, death: { readonly consumer: string; readonly reason: string }): Promise<void>;
  /**
   * Publishes the message again under a new id and removes the dead letter.
   * @returns the new message's id
   * @throws AppError `not_found`
   */
  redrive(id: string): Promise<string>;
  remove(id: string): Promise<void>;
  count(): Promise<number>;
}

/** A hint on its way out: see `hints` of the contracts. */
export interface OutgoingHint {
  readonly name: HintName;
  /** Bounded key of a keyed hint: the service's name. */
  readonly key?: string;
  readonly payload: unknown;
}

/** Something that was said while somebody listened. `payload` has been checked against its contract. */
export interface LiveMessage {
  /** Of an event; a hint has none. */
  readonly id: string | undefined;
  readonly name: MessageName | HintName;
  readonly key: string | undefined;
  readonly payload: unknown;
}

/** Commands and events between components. All promises may reject with `AppError` `unavailable`. */
export interface Bus {
  /**
   * Resolves when every message is durable. All or none for one call on the embedded adapter; elsewhere some may be
   * stored when it rejects: publish again, the ids make it safe.
   * @throws AppError `invalid_input` for a payload that breaks its contract, `too_large`, `limit_reached` when the stream is full
   */
  publish(messages: readonly OutgoingMessage[]): Promise<void>;
  subscribe(spec: ConsumerSpec, handler: MessageHandler): Promise<Subscription>;
  workQueue(spec: Omit<ConsumerSpec, 'names'> & { name: MessageName }): Promise<WorkQueue>;
  /**
   * Says a hint to whoever listens now; nothing is stored, and while the bus is away it is lost.
   * @throws AppError `invalid_input` for a payload that breaks its contract
   */
  hint(hint: OutgoingHint): void;
  /**
   * Calls back for hints, and for events after they are stored, from now on: what is said while the connection is away is
   * missed. Every listener gets everything. Listeners must not throw and should be quick.
   * @param onGap called when something may have been missed, once whatever comes next is heard again
   * @throws AppError `invalid_input` for the name of a command
   */
  listen(
    names: readonly (MessageName | HintName)[],
    listener: (message: LiveMessage) => void,
    onGap?: () => void,
  ): Promise<{ stop(): Promise<void> }>;
  readonly deadLetters: DeadLetters;
  /** Rejects when the bus can't be used now. */
  check(): Promise<void>;
  close(): Promise<void>;
}
