import type { JetStreamAccountStats, JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import { createGrowth, type Growth, type Look, seldom } from '../checks/index.ts';
import type { ComponentCheck } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Nats } from './nats-connection.ts';
import { fromNatsError } from './nats-errors.ts';
import { createNames } from './nats-names.ts';
import { changed, defaultNatsLimits, type NatsBusLimits, streamDefinitions } from './nats-streams.ts';
import {
  natsAccountChecks,
  natsConsumerChecks,
  type NatsConsumerFacts,
  natsServerChecks,
  natsStreamChecks,
  type NatsStreamFacts,
} from './nats-verdicts.ts';

export interface NatsLooksDeps {
  readonly nats: Nats;
  readonly namespace: string;
  /** Servers that are to keep each message. */
  readonly replicas: number;
  /** Where this process reads it. */
  readonly notifySubject?: string | undefined;
  readonly limits?: NatsBusLimits;
  readonly clock: Clock;
}

const streamsEveryMs = 30_000;
/** A figure that grew this often in a row does not shrink by itself. */
const growthTimes = 4;
const growthApartMs = 20_000;
const fewRedelivered = 10;

/** What is looked at of NATS: the server and its storage each time, streams and their readers now and then. */
export function natsLooks(deps: NatsLooksDeps): readonly Look[] {
  const { nats, clock } = deps;
  const growths = new Map<string, Growth>();
  const mend =
    'Start the server, or mend NATS_URL and what goes with it (NATS_TOKEN, NATS_USER, NATS_PASSWORD, NATS_CA).';
  const streams: Look = {
    name: 'NATS streams',
    mend: 'See the check of NATS itself.',
    look: async () => {
      // What the check of the server says already is not said twice.
      if (!nats.connected() || nats.connection.info?.jetstream !== true) return [];
      return asked('look at the streams', async () => streamFindings(await managerOf(nats), deps, growths));
    },
  };
  return [
    { name: 'NATS', mend, look: async () => serverFindings(nats) },
    seldom(streams, streamsEveryMs, clock),
  ];
}

async function serverFindings(nats: Nats): Promise<readonly ComponentCheck[]> {
  nats.requireConnected();
  const { info } = nats.connection;
  const server = natsServerChecks({
    version: info?.version ?? '',
    jetstream: info?.jetstream === true,
  });
  if (server.some(({ ok }) => !ok)) return server;
  const account = await asked('read the account', async () => (await managerOf(nats)).getAccountInfo());
  return [...server, ...natsAccountChecks(accountFacts(account))];
}

async function managerOf({ connection }: Nats): Promise<JetStreamManager> {
  const { jetstreamManager } = await import('@nats-io/jetstream');
  return jetstreamManager(connection, { checkAPI: false });
}

async function asked<T>(what: string, question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (error) {
    throw fromNatsError(error, what);
  }
}

function accountFacts(account: JetStreamAccountStats): Parameters<typeof natsAccountChecks>[0] {
  // With tiers (R1, R3) there are figures for each of them alone.
  const tiers = Object.values(account.tiers ?? {});
  const [first] = tiers;
  const { storage, reserved_storage: reserved, limits } = first ?? account;
  return { used: storage, reserved, limit: limits.max_storage };
}

async function streamFindings(
  jsm: JetStreamManager,
  { namespace, replicas, limits = {}, notifySubject, clock }: NatsLooksDeps,
  growths: Map<string, Growth>,
): Promise<readonly ComponentCheck[]> {
  const definitions = streamDefinitions({
    names: createNames(namespace),
    limits: { ...defaultNatsLimits, ...limits },
    replicas,
    notifySubject,
  });
  const facts: NatsStreamFacts[] = [];
  const consumers: NatsConsumerFacts[] = [];
  for (const wanted of definitions) {
    const info = await infoOf(jsm, wanted.name);
    facts.push(
      info === undefined ? { name: wanted.name, there: undefined } : streamFacts(info, changed(wanted, info)),
    );
    if (info === undefined || info.state.consumer_count === 0) continue;
    const redelivered = await redeliveredIn(jsm, wanted.name);
    const growth = growths.get(wanted.name) ?? createGrowth({ times: growthTimes, apartMs: growthApartMs });
    growths.set(wanted.name, growth);
    const grows = growth.grows(redelivered, clock.monotonic());
    consumers.push({ stream: wanted.name, redelivered, isGrowing: grows && redelivered > fewRedelivered });
  }
  return [...natsStreamChecks(facts, replicas), ...natsConsumerChecks(consumers)];
}

async function infoOf(jsm: JetStreamManager, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await jsm.streams.info(stream);
  } catch (error) {
    const known = fromNatsError(error, `look at the stream ${stream}`);
    if (known instanceof AppError && known.code === 'not_found') return undefined;
    throw known;
  }
}

/** Of the first page of readers: a service has one each, and there may be many. */
async function redeliveredIn(jsm: JetStreamManager, stream: string): Promise<number> {
  const page = await jsm.consumers.list(stream).next();
  return page.reduce((sum, { num_redelivered }) => sum + num_redelivered, 0);
}

function streamFacts({ config, state, cluster }: StreamInfo, differing: readonly string[]): NatsStreamFacts {
  return {
    name: config.name,
    there: {
      differing,
      replicas: config.num_replicas,
      lagging: (cluster?.replicas ?? []).flatMap(({ name, offline, current }) =>
        offline || !current ? [name] : [],
      ),
      messages: state.messages,
      maxMessages: config.max_msgs,
      bytes: state.bytes,
      maxBytes: config.max_bytes,
      dropsOldest: config.discard === 'old',
    },
  };
}
