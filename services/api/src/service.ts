import type { Server } from 'node:http';
import { randomBytes, randomUUID } from 'node:crypto';
import type { Bus } from '@sluice/shared/bus';
import type { Look } from '@sluice/shared/checks';
import type { Secret } from '@sluice/shared/config';
import { AppError, systemCode } from '@sluice/shared/errors';
import type { Clock, Component } from '@sluice/shared/lifecycle';
import {
  SYSTEM_BUCKET,
  type DefinitionStore,
  type ObjectStore,
  type RunLedger,
  type RunLogs,
  type Settings,
} from '@sluice/shared/stores';
import { noTracer, type Logger, type Registry, type Tracer } from '@sluice/shared/telemetry';
import { createRunnerClient } from './adapters/runner-client.ts';
import { createAuthenticate } from './app/authenticate.ts';
import { createBuckets } from './app/buckets.ts';
import { createCalls } from './app/calls/calls.ts';
import { createKnownRunners } from './app/calls/known-runners.ts';
import { createCallLog } from './app/call-log.ts';
import { createChecks } from './app/checks.ts';
import { createDirectory } from './app/directory.ts';
import { createJobs } from './app/jobs.ts';
import { createRunFeed } from './app/live/run-feed.ts';
import { createObjectCount } from './app/object-count.ts';
import { createRuns } from './app/runs.ts';
import type { ServiceContext } from './app/service-context.ts';
import { registerStoreMetrics } from './app/store-metrics.ts';
import { createSubmitJob } from './app/submit-job.ts';
import type { ApiConfig } from './config.ts';
import type { HttpContext } from './http/context.ts';
import { createServer } from './http/server.ts';
import { ownChecks } from './app/own-checks.ts';
import type {
  Builds,
  Capabilities,
  DeploymentChecks,
  Installation,
  NodeFacts,
  Random,
  UrlVerifier,
} from './ports.ts';

export interface ApiDeps {
  readonly config: ApiConfig;
  readonly definitions: DefinitionStore;
  readonly ledger: RunLedger;
  readonly objects: ObjectStore;
  readonly logs: RunLogs;
  readonly settings: Settings;
  readonly bus: Bus;
  readonly presigner: UrlVerifier;
  readonly capabilities: Capabilities;
  /** Secret that the tokens of runners are made from (`runnerToken`). */
  readonly runnerKey: Secret;
  /** Asked for each `GET /system/overview`. */
  readonly installation: () => Installation;
  /** Asked for each `GET /system/status`. */
  readonly nodes: () => Promise<readonly NodeFacts[]>;
  /** Absent where no images are built: the builder's routes answer 503. */
  readonly builds?: Builds;
  /** For `GET /system/checks`. @default whether the bus, the ledger and the object store answer */
  readonly checks?: DeploymentChecks;
  /** What else this process looks at, where `checks` is absent. */
  readonly looks?: readonly Look[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  /** @default none */
  readonly tracer?: Tracer;
  /** Bytes of an event that travel in the run's messages. @default 65536 */
  readonly inlineEventBytes?: number;
  /** @default random bytes and UUIDs of `node:crypto` */
  readonly random?: Random;
}

export interface Api extends Component {
  /** Where it listens. Throws before `start` has resolved. */
  address(): { readonly host: string; readonly port: number; readonly url: string };
}

/** Time that answers under way get when the server stops. */
const drainMs = 5000;
/** Time that calls get after that to be told that nobody waits for them any more. */
const lastWordsMs = 500;
const idleCheckMs = 20;

/** `owner_name` of what the administrator makes (OSCAR §1.2, step 12). */
const ownerName = 'oscar';

const systemRandom: Random = { hex: (bytes) => randomBytes(bytes).toString('hex'), uuid: randomUUID };

/** The HTTP front door: OSCAR's routes and Sluice's own. */
export function createApi(deps: ApiDeps): Api {
  const { config } = deps;
  const context = httpContext(deps);
  registerStoreMetrics(deps.metrics, deps);
  const app = createServer(context);
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    context.calls.refuse();
    const closed = new AbortController();
    const closing = app.close().finally(() => {
      closed.abort();
    });
    await Promise.all([closing, closeConnections(app.server, context, closed.signal)]);
    await closeContext(context);
  };
  return {
    name: 'api',
    start: async () => {
      await deps.objects.createBucket(SYSTEM_BUCKET, {});
      await context.directory.start();
      try {
        await context.runners.start();
        await context.checks.start();
        context.calls.start();
        await app.listen({ host: config.host, port: config.port, backlog: 1024 });
      } catch (error) {
        await closeContext(context);
        throw listenError(error, config);
      }
    },
    stop: () => (stopping ??= stop()),
    check: async () => {
      if (!app.server.listening) throw new AppError('unavailable', 'The HTTP server does not listen.');
    },
    address: () => {
      const address = app.server.address();
      if (address === null || typeof address === 'string')
        throw new Error('the api has no address before it is started');
      const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
      return { host: address.address, port: address.port, url: `http://${host}:${address.port}` };
    },
  };
}

async function closeContext({ checks, feed, runners, calls, directory }: HttpContext): Promise<void> {
  await checks.stop();
  await calls.stop();
  await runners.stop();
  await feed.close();
  await directory.stop();
}

/** A connection whose answer is sent is idle, and kept alive unless somebody closes it; what is left after a while is cut. */
async function closeConnections(
  server: Server,
  { calls, clock }: Pick<HttpContext, 'calls' | 'clock'>,
  closed: AbortSignal,
): Promise<void> {
  const end = clock.monotonic() + drainMs;
  while (!closed.aborted) {
    const left = end - clock.monotonic();
    // A call whose connection is just cut looks like a network that failed, which clients try again without a thought.
    if (left <= 0) calls.abandon();
    if (left > -lastWordsMs) server.closeIdleConnections();
    // Downloads that nobody reads would keep the server for ever.
    else server.closeAllConnections();
    await clock.sleep(idleCheckMs, closed).catch(() => undefined);
  }
}

function httpContext(deps: ApiDeps): HttpContext {
  const { config, definitions, ledger, objects, bus, random = systemRandom, tracer = noTracer } = deps;
  const directory = createDirectory(deps);
  const services: ServiceContext = {
    ...deps,
    directory,
    random,
    stamp: { owner: 'cluster_admin', ownerName, namespace: config.servicesNamespace, minio: config.minio },
  };
  const client = createRunnerClient({ key: deps.runnerKey });
  const caller = random.uuid();
  const runners = createKnownRunners({ ...deps, caller, directory, client });
  return {
    ...deps,
    random,
    tracer,
    directory,
    services,
    authenticate: createAuthenticate({ ...config, directory }),
    verifier: deps.presigner,
    runners,
    calls: createCalls({ ...deps, caller, random, directory, client, runners }),
    countObjects: createObjectCount(deps),
    startedAt: deps.clock.now(),
    callLog: createCallLog(),
    checks: createChecks({ ...deps, checks: deps.checks ?? ownChecks({ ...deps, instance: caller }) }),
    buckets: createBuckets({
      objects,
      definitions,
      ownerTag: config.name,
      ownerName,
      pageSize: config.jobListingLimit,
    }),
    jobs: createJobs({ ...deps, random }),
    feed: createRunFeed({ bus, random, clock: deps.clock }),
    runs: createRuns({ ledger, bus, definitions, random, tracer }),
    submit: createSubmitJob({ ...deps, random, tracer }),
  };
}

function listenError(error: unknown, config: ApiConfig): unknown {
  const place = `${config.host}:${config.port}`;
  switch (systemCode(error)) {
    case 'EADDRINUSE':
      return new AppError(
        'conflict',
        `${place} is taken by another program. Set OSCAR_SERVICE_PORT to a free port.`,
        { cause: error },
      );
    case 'EACCES':
      return new AppError(
        'forbidden',
        `${place} may not be listened on: ports under 1024 need more rights. Set OSCAR_SERVICE_PORT.`,
        { cause: error },
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new AppError(
        'invalid_input',
        `${config.host} is not an address of this machine. Set SLUICE_HOST.`,
        { cause: error },
      );
    default:
      return error;
  }
}
