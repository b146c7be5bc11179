import { doubt, fault, fine, isAtLeast } from '../checks/index.ts';
import type { ComponentCheck } from '../contracts/index.ts';

export interface NatsServerFacts {
  /** Empty where the server does not say. */
  readonly version: string;
  readonly jetstream: boolean;
}

/** Bytes on disk that the account uses, reserved, and may have (-1: no limit of its own). */
export interface NatsAccountFacts {
  readonly used: number;
  readonly reserved: number;
  readonly limit: number;
}

export interface NatsStreamFacts {
  readonly name: string;
  /** Undefined: the stream is not there. */
  readonly there:
    | {
        /** Names of settings that are not as they should be. */
        readonly differing: readonly string[];
        readonly replicas: number;
        /** Servers of its group that are away or behind. */
        readonly lagging: readonly string[];
        readonly messages: number;
        readonly maxMessages: number;
        readonly bytes: number;
        readonly maxBytes: number;
        /** A full one drops its oldest, as it should. */
        readonly dropsOldest: boolean;
      }
    | undefined;
}

const leastVersion = [2, 10] as const;
const jetStream = 'Start the server with "-js", or with a jetstream block in its configuration';

export function natsServerChecks(server: NatsServerFacts): readonly ComponentCheck[] {
  const name = 'NATS';
  const version = server.version === '' ? 'of an unknown version' : server.version;
  if (isAtLeast(server.version, leastVersion) === false)
    return [fault(name, `The server is NATS ${version}.`, 'Sluice needs NATS 2.10 or newer: upgrade it.')];
  if (!server.jetstream) {
    return [
      fault(
        name,
        `The server (NATS ${version}) has no JetStream.`,
        `${jetStream}; with accounts, switch it on for the one of NATS_USER as well.`,
      ),
    ];
  }
  return [fine(name, `NATS ${version} with JetStream.`)];
}

/** Share of a limit from which on a figure is worth a word. */
const nearly = 0.85;

export function natsAccountChecks({ used, reserved, limit }: NatsAccountFacts): readonly ComponentCheck[] {
  const name = 'NATS storage';
  if (limit < 0) return [fine(name, `${mebibytes(used)} are used, the account has no limit of its own.`)];
  const taken = Math.max(used, reserved);
  const message = `${mebibytes(taken)} of the account's ${mebibytes(limit)} are used or reserved.`;
  const mend =
    'Raise the storage of the account (max_file_store of the server), or remove streams that nobody needs: "nats stream report" lists them.';
  if (limit > 0 && taken < nearly * limit) return [fine(name, message)];
  return [taken >= limit ? fault(name, message, mend) : doubt(name, message, mend)];
}

/** @param wanted replicas, NATS_REPLICAS */
export function natsStreamChecks(
  streams: readonly NatsStreamFacts[],
  wanted: number,
): readonly ComponentCheck[] {
  const name = 'NATS streams';
  const wrong = streams.flatMap((stream) => streamFaults(name, stream, wanted));
  if (wrong.length > 0) return wrong;
  const replicas = wanted === 1 ? 'one replica' : `${wanted} replicas`;
  return [
    fine(name, `${streams.length} are there with ${replicas} each.`),
    ...(wanted === 1 ? [] : [fine('NATS replicas', 'All are up to date.')]),
  ];
}

function streamFaults(
  name: string,
  { name: stream, there }: NatsStreamFacts,
  wanted: number,
): readonly ComponentCheck[] {
  if (there === undefined) {
    const message = `The stream ${stream} is not there.`;
    return [
      fault(
        name,
        message,
        'Restart the component: it makes its streams at its start. What waited in it is lost.',
      ),
    ];
  }
  const found: ComponentCheck[] = [];
  const settings = there.differing.filter((setting) => setting !== 'num_replicas');
  if (there.replicas !== wanted) {
    found.push(
      doubt(
        'NATS replicas',
        `The stream ${stream} has ${there.replicas} and should have ${wanted}.`,
        `Restart the component, which sets them; or: nats stream edit ${stream} --replicas ${wanted}. A message survives the loss of a server with 3, and set sync_interval: always in the servers' configuration where one alone has to survive a power cut.`,
      ),
    );
  }
  if (settings.length > 0) {
    const message = `The stream ${stream} has other settings than it should (${settings.join(', ')}).`;
    found.push(
      doubt(
        name,
        message,
        'Another version of Sluice, or somebody by hand, changed them; restart the component to set them.',
      ),
    );
  }
  if (there.lagging.length > 0) {
    found.push(
      doubt(
        'NATS replicas',
        `Servers of the stream ${stream} are away or behind: ${there.lagging.join(', ')}.`,
        'Look at these servers of the cluster ("nats server report jetstream").',
      ),
    );
  }
  return [...found, ...fullness(name, stream, there)];
}

function fullness(
  name: string,
  stream: string,
  there: NonNullable<NatsStreamFacts['there']>,
): readonly ComponentCheck[] {
  if (there.dropsOldest) return [];
  const share = Math.max(shareOf(there.messages, there.maxMessages), shareOf(there.bytes, there.maxBytes));
  if (share < nearly) return [];
  const message = `The stream ${stream} is ${Math.floor(share * 100)} % full (${there.messages} messages, ${mebibytes(there.bytes)}).`;
  const mend =
    'Its reader is too slow or away: look at its component. Once it is full new messages are refused; dead letters can be deleted (sluice dead-letter delete).';
  return [share >= 1 ? fault(name, message, mend) : doubt(name, message, mend)];
}

function shareOf(value: number, limit: number): number {
  return limit > 0 ? value / limit : 0;
}

export interface NatsConsumerFacts {
  readonly stream: string;
  /** Delivered more than once and still not done. */
  readonly redelivered: number;
  readonly isGrowing: boolean;
}

export function natsConsumerChecks(streams: readonly NatsConsumerFacts[]): readonly ComponentCheck[] {
  const name = 'NATS redeliveries';
  const growing = streams.filter(({ isGrowing }) => isGrowing);
  if (growing.length === 0) {
    const sum = streams.reduce((total, { redelivered }) => total + redelivered, 0);
    return [fine(name, `${sum} ${sum === 1 ? 'message is' : 'messages are'} tried again.`)];
  }
  return growing.map(({ stream, redelivered }) =>
    doubt(
      name,
      `Ever more messages of ${stream} have to be tried again (${redelivered} now).`,
      'Their handler fails: the log of the component that reads them says why. After 8 tries they are dead letters.',
    ),
  );
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
