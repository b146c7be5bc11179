import { isIP } from 'node:net';
import { checkServerIdentity, getCACertificates, type PeerCertificate } from 'node:tls';
import type { NatsConnection, NodeConnectionOptions, Status } from '@nats-io/transport-node';
import type { Secret } from '../config/index.ts';
import { AppError, messageOf } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { fromNatsError, isRefusedLogin } from './nats-errors.ts';

/** How a NATS server, or a cluster of them, is reached. */
export interface NatsOptions {
  /** `nats://host:port`, or `tls://host:port` where the connection must be encrypted; any that answers will do. */
  readonly servers: readonly string[];
  readonly token?: Secret | undefined;
  readonly user?: string | undefined;
  readonly password?: Secret | undefined;
  readonly tls?:
    | {
        /** Certificates (PEM) that are trusted beside the system's. */
        readonly ca?: string | undefined;
        /** Our own certificate (PEM) with its key, where the server asks for one. */
        readonly cert?: string | undefined;
        readonly key?: Secret | undefined;
      }
    | undefined;
  /** Shown by the server's monitoring: the component's. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds to wait for the server at the start. @default 30000 */
  readonly waitMs?: number;
}

/**
 * The variables `NATS_…` as a connection takes them. Where nothing is said of certificates, the server decides whether the connection is encrypted.
 */
export function natsSettings(values: {
  readonly NATS_URL: string;
  readonly NATS_TOKEN: Secret | undefined;
  readonly NATS_USER: string;
  readonly NATS_PASSWORD: Secret | undefined;
  readonly NATS_CA: string;
  readonly NATS_CERT: string;
  readonly NATS_KEY: Secret | undefined;
}): Pick<NatsOptions, 'servers' | 'token' | 'user' | 'password' | 'tls'> {
  const given = (text: string): string | undefined => (text === '' ? undefined : text);
  const { NATS_CA: ca, NATS_CERT: cert, NATS_KEY: key } = values;
  return {
    servers: values.NATS_URL.split(',').map((one) => one.trim()),
    token: values.NATS_TOKEN,
    user: given(values.NATS_USER),
    password: values.NATS_PASSWORD,
    tls:
      ca === '' && cert === '' && key === undefined ? undefined : { ca: given(ca), cert: given(cert), key },
  };
}

/** A connection that is made again whenever it is lost, for as long as the process lives. Shared by all adapters of one process. */
export interface Nats {
  readonly connection: NatsConnection;
  connected(): boolean;
  /**
   * For all that must fail at once while the server is away: the package would keep it for later, and then forget it.
   * @throws AppError `unavailable`
   */
  requireConnected(): void;
  /** Calls back when the connection was lost, and when it is there again: what was said meanwhile was missed. */
  onChange(listener: { readonly lost?: () => void; readonly back?: () => void }): () => void;
  /**
   * Resolves when the server has what was published and subscribed so far.
   * @throws AppError `unavailable`, after 5 seconds at most
   */
  flush(): Promise<void>;
  /** Lets subscriptions finish what they have received, sends what was published, and ends; whoever asks afterwards is refused. */
  close(): Promise<void>;
}

const retryMs = 250;
const flushMs = 5000;
/** A connection on which nothing answers is given up after three of these. */
const pingMs = 10_000;

/**
 * Connects, waiting for the server as long as it is allowed to.
 * @throws AppError `unavailable` when no server answers in time; at once `unauthenticated` when it refuses the credentials, and
 *   `invalid_input` for an address that is none
 */
export async function openNats(options: NatsOptions): Promise<Nats> {
  const { connect } = await import('@nats-io/transport-node');
  const settings = settingsOf(options);
  const deadline = options.clock.monotonic() + (options.waitMs ?? 30_000);
  // A clock's sleep does not keep the process alive, and at the start nothing else may.
  const alive = setInterval(() => undefined, 60_000);
  try {
    for (;;) {
      try {
        return wrap(await connect({ ...settings, servers: [...options.servers] }), options);
      } catch (error) {
        const failure = fromNatsError(error, 'connect to NATS');
        if (isRefusedLogin(error) || options.clock.monotonic() + retryMs > deadline) throw failure;
        options.log.info({ reason: messageOf(failure) }, 'NATS does not answer yet, trying again');
        await options.clock.sleep(retryMs);
      }
    }
  } finally {
    clearInterval(alive);
  }
}

function settingsOf({ servers, token, user, password, tls, name }: NatsOptions): NodeConnectionOptions {
  for (const server of servers) checkServer(server);
  if (servers.length === 0) {
    throw new AppError('invalid_input', 'Name at least one NATS server.', { field: 'servers' });
  }
  const encrypted = tls !== undefined || servers.some((server) => server.startsWith('tls://'));
  return {
    name,
    ...(token === undefined ? {} : { token: token.reveal() }),
    ...(user === undefined ? {} : { user, pass: password?.reveal() ?? '' }),
    ...(encrypted ? { tls: tlsOf(tls ?? {}, servers) } : {}),
    // For ever, also when credentials are refused: a server that is being set up again knows them later.
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: retryMs,
    reconnectJitter: retryMs,
    reconnectJitterTLS: retryMs,
    timeout: 5000,
    pingInterval: pingMs,
    noAsyncTraces: true,
  };
}

type Tls = NonNullable<NodeConnectionOptions['tls']>;

function tlsOf({ ca, cert, key }: NonNullable<NatsOptions['tls']>, servers: readonly string[]): Tls {
  const hosts = servers.map((server) => new URL(server).hostname.replace(/^\[(.*)\]$/, '$1'));
  // The package hands its settings on to Node, and says no address there: Node then checks for "localhost" instead.
  const identity = (host: string, certificate: PeerCertificate): Error | undefined => {
    const addresses = hosts.filter((one) => isIP(one) > 0);
    if (hosts.includes(host) || addresses.length === 0) return checkServerIdentity(host, certificate);
    const faults = addresses.map((address) => checkServerIdentity(address, certificate));
    return faults.includes(undefined) ? undefined : faults[0];
  };
  return Object.assign({ checkServerIdentity: identity } satisfies object, {
    // Given alone, it would be trusted instead of the system's.
    ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ca].join('\n') }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key: key.reveal() }),
  });
}

function checkServer(server: string): void {
  const url = URL.parse(server);
  // Credentials in an address end up in logs.
  const bare = url !== null && url.username === '' && url.password === '' && /^\/?$/.test(url.pathname);
  if (bare && ['nats:', 'tls:'].includes(url.protocol) && url.hostname !== '') return;
  throw new AppError(
    'invalid_input',
    'The address of a NATS server reads nats://host:port or tls://host:port; token, user and password are given apart from it.',
    { field: 'servers' },
  );
}

type Listener = Parameters<Nats['onChange']>[0];

function wrap(connection: NatsConnection, { log }: NatsOptions): Nats {
  const listeners = new Set<Listener>();
  let connected = true;
  let closing: Promise<void> | undefined;
  const change = (now: boolean): void => {
    if (connected === now) return;
    connected = now;
    for (const { lost, back } of listeners) (now ? back : lost)?.();
  };
  const requireConnected = (): void => {
    if (closing !== undefined) throw new AppError('unavailable', 'The connection to NATS is closed.');
    if (!connected) throw new AppError('unavailable', 'NATS is away.', { retryAfterSeconds: 1 });
  };
  const watching = watch(connection, log, change);
  return {
    connection,
    connected: () => connected,
    requireConnected,
    onChange: (listener) => {
      const own = { ...listener };
      listeners.add(own);
      return () => listeners.delete(own);
    },
    flush: async () => {
      requireConnected();
      await within(flushMs, connection.flush());
    },
    close: async () => {
      closing ??= end(connection, () => connected).then(async () => watching);
      await closing;
    },
  };
}

/** Follows the connection until it is closed. */
async function watch(
  connection: NatsConnection,
  log: Logger,
  change: (connected: boolean) => void,
): Promise<void> {
  log.info({ server: connection.getServer() }, 'connected to NATS');
  for await (const status of connection.status()) {
    note(status, log);
    if (status.type === 'disconnect') change(false);
    if (status.type === 'reconnect') change(true);
  }
  change(false);
  const error = await connection.closed();
  if (error === undefined) log.info('connection to NATS closed');
  else log.error({ err: error }, 'connection to NATS closed');
}

function note(status: Status, log: Logger): void {
  switch (status.type) {
    case 'disconnect':
      return log.warn({ server: status.server }, 'connection to NATS lost, trying to connect again');
    case 'reconnect':
      return log.info({ server: status.server }, 'connected to NATS again');
    case 'error':
      return log.warn({ err: status.error }, 'NATS reports an error');
    case 'staleConnection':
    case 'ldm':
    case 'slowConsumer':
      return log.warn({ status: status.type }, 'NATS connection in trouble');
    default:
      return log.debug({ status: status.type }, 'NATS connection status');
  }
}

async function end(connection: NatsConnection, connected: () => boolean): Promise<void> {
  if (connection.isClosed()) return;
  try {
    // Without a server there is nobody to send the rest to, and draining would wait for one.
    if (connected()) await within(flushMs, connection.drain());
  } catch {
    // What could not be sent comes again or is sent again by whoever waits for it.
  }
  if (!connection.isClosed()) await connection.close();
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new AppError('unavailable', `NATS did not answer within ${ms} ms.`));
  }, ms);
  try {
    await Promise.race([work, promise]);
  } catch (error) {
    throw fromNatsError(error, 'reach NATS');
  } finally {
    clearTimeout(timer);
  }
}
