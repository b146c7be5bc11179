import { setTimeout as delay } from 'node:timers/promises';
import type { JetStreamApiError, JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { catalogue, type MessageName } from '../contracts/index.ts';
import { AppError, messageOf } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { fromNatsError, jetStreamCode } from './nats-errors.ts';
import { type NatsNames, notifyStreamName } from './nats-names.ts';

/** Bounds of the streams. Where they are full, publishing is refused; events make room by themselves. */
export interface NatsBusLimits {
  /** Messages of one command that may wait or be in hand. @default 1000000 */
  readonly commands?: number;
  /** Of those, messages of one key (service), so that none takes all the room. @default 250000 */
  readonly commandsPerKey?: number;
  /** Events that are kept; past it the oldest are dropped. @default 1000000 */
  readonly events?: number;
  /** Milliseconds that an event is kept. @default 604800000 */
  readonly eventAgeMs?: number;
  /** Dead letters. @default 100000 */
  readonly deadLetters?: number;
  /** Milliseconds that a message's id is known after it was published. @default 120000 */
  readonly dedupeMs?: number;
  /** Bytes of each stream, reserved on every server that keeps it. @default 536870912 */
  readonly streamBytes?: number;
}

export interface StreamsOptions {
  readonly names: NatsNames;
  readonly limits: Required<NatsBusLimits>;
  /** Servers that keep each message. */
  readonly replicas: number;
  /** The subject that an S3 server publishes its notifications to by itself. */
  readonly notifySubject: string | undefined;
}

export const defaultNatsLimits: Required<NatsBusLimits> = {
  commands: 1_000_000,
  commandsPerKey: 250_000,
  events: 1_000_000,
  eventAgeMs: 7 * 86_400_000,
  deadLetters: 100_000,
  dedupeMs: 120_000,
  streamBytes: 512 * 1024 * 1024,
};

/** Names of the streams, by what they are for. */
export function streamNames(names: NatsNames): {
  readonly command: (name: MessageName) => string;
  readonly events: string;
  readonly redrive: string;
  readonly deadLetters: string;
  readonly released: string;
} {
  return {
    command: (name) => names.stream(`CMD_${name.replaceAll(/[.-]/g, '_')}`),
    events: names.stream('EVT'),
    redrive: names.stream('REDRIVE'),
    deadLetters: names.stream('DLQ'),
    released: names.stream('RELEASED'),
  };
}

type Definition = Partial<StreamConfig> & Pick<StreamConfig, 'name' | 'subjects' | 'retention'>;

const nanos = (ms: number): number => Math.round(ms * 1_000_000);
const dayMs = 86_400_000;
/** The server's own default is 1,000, and cannot be changed afterwards: a service has a consumer each. */
const maxConsumers = 100_000;

/** All streams, as they should be. */
export function streamDefinitions(options: StreamsOptions): readonly Definition[] {
  const { names, limits, replicas, notifySubject } = options;
  const streams = streamNames(names);
  const common = {
    storage: 'file',
    num_replicas: replicas,
    max_bytes: limits.streamBytes,
    max_consumers: maxConsumers,
    duplicate_window: nanos(limits.dedupeMs),
    allow_direct: true,
  } as const;
  const queue = { ...common, retention: 'workqueue', discard: 'new' } as const;
  return [
    ...commandNames().map((name) => ({ ...queue, ...commandStream(name, options) })),
    {
      ...common,
      name: streams.events,
      subjects: [names.subject('evt', '>')],
      retention: 'limits',
      discard: 'old',
      max_msgs: limits.events,
      max_age: nanos(limits.eventAgeMs),
      republish: { src: names.subject('evt', '>'), dest: names.subject('live', '>') },
    },
    {
      ...queue,
      name: streams.redrive,
      subjects: [names.subject('redrive', '>')],
      max_msgs: limits.deadLetters,
    },
    {
      ...common,
      name: streams.deadLetters,
      subjects: [names.subject('dlq', '*')],
      retention: 'limits',
      discard: 'new',
      max_msgs: limits.deadLetters,
    },
    {
      ...common,
      name: streams.released,
      subjects: [names.subject('released', '>')],
      retention: 'limits',
      discard: 'old',
      max_msgs_per_subject: 1,
      max_msgs: limits.commands,
      // The attempts of a message that is older count once more than they should, no worse.
      max_age: nanos(7 * dayMs),
    },
    ...(notifySubject === undefined ? [] : [{ ...common, ...notifyStream(notifySubject, limits) }]),
  ];
}

export function commandNames(): readonly MessageName[] {
  return Object.entries(catalogue).flatMap(([name, { kind }]) =>
    kind === 'cmd' ? [name as MessageName] : [],
  );
}

function commandStream(name: MessageName, { names, limits }: StreamsOptions): Definition {
  const stream = {
    name: streamNames(names).command(name),
    retention: 'workqueue',
    max_msgs: limits.commands,
  } as const;
  if (!catalogue[name].keyed) return { ...stream, subjects: [names.subject('cmd', name)] };
  const subject = names.subject('cmd', name, '*');
  return {
    ...stream,
    subjects: [subject],
    max_msgs_per_subject: Math.min(limits.commandsPerKey, limits.commands),
    discard_new_per_subject: true,
    // After it is stored, so that whoever hears it finds it. The payload would be sent to everybody.
    republish: {
      src: subject,
      dest: names.subject('arrived', name, '{{wildcard(1)}}'),
      headers_only: true,
    },
  };
}

/** Shared by all installations of a server: no setting of one of them may be in it. */
function notifyStream(subject: string, limits: Required<NatsBusLimits>): Definition {
  return {
    name: notifyStreamName(subject),
    subjects: [subject],
    // Each installation has its own reader, and a message goes when the last one is done with it.
    retention: 'interest',
    // Of all others: an installation that is away, or gone without a word, must not keep new ones from the rest. Whoever missed some finds their objects by listing.
    discard: 'old',
    max_msgs: defaultNatsLimits.commands,
    max_bytes: Math.min(limits.streamBytes, defaultNatsLimits.streamBytes),
    // What nobody read in time is found by listing.
    max_age: nanos(dayMs),
    duplicate_window: nanos(defaultNatsLimits.dedupeMs),
  };
}

/**
 * Makes what is missing and changes what may be changed; any number of processes may do that at once.
 * @throws AppError `conflict` for a setting that cannot be changed, or a subject that another stream has
 */
export async function ensureStreams(
  jsm: JetStreamManager,
  definitions: readonly Definition[],
  log: Logger,
): Promise<void> {
  for (const definition of definitions) {
    for (let tries = 1; ; tries += 1) {
      try {
        await ensureStream(jsm, definition, log);
        break;
      } catch (error) {
        if (tries < maxTries && isPassing(error)) await delay(tries * pauseMs);
        else throw fromNatsError(error, `set up the stream ${definition.name}`);
      }
    }
  }
}

const maxTries = 5;
const pauseMs = 100;

/** Whether the server failed, and not the request: no leader yet, or its folder is removed with another's last stream. */
function isPassing(error: unknown): boolean {
  return jetStreamCode(error) !== undefined && (error as JetStreamApiError).status >= 500;
}

const nameInUse = 10_058;
const subjectsOverlap = 10_065;
/** Settings that a stream keeps for its life. */
const fixed = ['retention', 'storage', 'max_consumers'] as const;

async function ensureStream(jsm: JetStreamManager, wanted: Definition, log: Logger): Promise<void> {
  try {
    await jsm.streams.add(wanted);
    return;
  } catch (error) {
    const code = jetStreamCode(error);
    if (code === subjectsOverlap) throw await overlap(jsm, wanted, error);
    if (code !== nameInUse) throw error;
  }
  const there = await jsm.streams.info(wanted.name);
  checkFixed(wanted, there);
  const changes = changed(wanted, there);
  if (changes.length === 0) return;
  await jsm.streams.update(wanted.name, wanted);
  log.info({ stream: wanted.name, settings: changes }, 'stream settings changed');
}

function checkFixed(wanted: Definition, { config }: StreamInfo): void {
  const wrong = fixed.filter(
    (setting) => wanted[setting] !== undefined && wanted[setting] !== config[setting],
  );
  if (wrong.length === 0) return;
  const list = wrong
    .map((it) => `${it} is ${String(config[it])} and should be ${String(wanted[it])}`)
    .join(', ');
  throw new AppError(
    'conflict',
    `The stream ${wanted.name} was made with other settings that NATS cannot change: ${list}. Remove the stream once nothing waits in it.`,
    { details: { stream: wanted.name } },
  );
}

/** Names of the settings that differ. */
export function changed(wanted: Definition, { config }: Pick<StreamInfo, 'config'>): readonly string[] {
  return Object.entries(wanted).flatMap(([setting, value]) => {
    const there: unknown = Object.entries(config).find(([name]) => name === setting)?.[1];
    return canonical(there) === canonical(value) ? [] : [setting];
  });
}

function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return JSON.stringify(value) ?? '';
  return JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function overlap(
  jsm: JetStreamManager,
  { name, subjects }: Definition,
  cause: unknown,
): Promise<AppError> {
  const owner = await jsm.streams.find(subjects[0] ?? '').catch((error: unknown) => messageOf(error));
  return new AppError(
    'conflict',
    `The stream ${name} cannot be made: another stream of this NATS server (${owner}) has the subject ${subjects.join(', ')} already. Remove that one, or choose another namespace or notification subject.`,
    { cause, details: { stream: name, other: owner } },
  );
}
