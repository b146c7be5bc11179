import { runName } from '@sluice/shared/contracts';
import { isAppError } from '@sluice/shared/errors';
import type { Bus } from '@sluice/shared/bus';
import type { Clock } from '@sluice/shared/lifecycle';
import { newTraceparent, type Logger, type Registry } from '@sluice/shared/telemetry';
import { endedByStop, obstacleOf, shuttingDown, type Obstacle } from '../../domain/call-obstacle.ts';
import { callTimeoutMs } from '../../domain/call-request.ts';
import type { Random, RunnerClient } from '../../ports.ts';
import type { Directory } from '../directory.ts';
import { createDemandTeller, type DemandTeller } from './demand.ts';
import type { KnownRunners, ServiceId } from './known-runners.ts';
import { createCallMetrics, type CallEnd, type CallMetrics } from './metrics.ts';
import { createServiceCalls, type PerformedCall, type ServiceCalls } from './service-calls.ts';

/** Services of which no call is in hand are kept until there are so many. */
const idleServices = 1000;

/** A caller's request, as it came. */
export interface CallRequest {
  readonly service: ServiceId;
  readonly body: Uint8Array;
  readonly method: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly traceparent: string | undefined;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
}

export interface Call extends PerformedCall {
  readonly callId: string;
}

/** Synchronous calls (OSCAR §5): each goes to one warm runner, or waits for one. */
export interface Calls {
  start(): void;
  /**
   * Has a call performed; resolves with the head of its answer.
   * @throws AppError `limit_reached`, `unavailable`, `not_found`; the signal's reason
   */
  perform(request: CallRequest): Promise<Call>;
  /** Takes nothing new and ends what waits; what runners have in hand goes on. */
  refuse(): void;
  /** Answers those that runners still have in hand: 503, and the runner is told to end them. After `refuse`. */
  abandon(): void;
  stop(): Promise<void>;
}

export interface CallsDeps {
  readonly bus: Pick<Bus, 'hint'>;
  readonly client: RunnerClient;
  readonly runners: Pick<KnownRunners, 'runnersOf' | 'onState'>;
  readonly directory: Pick<Directory, 'get'>;
  readonly config: {
    /** Calls of one service that wait, at most. */
    readonly callQueue: number;
    readonly callWaitMs: number;
    /** The script of a call may run so long. */
    readonly callTimeoutMs: number;
  };
  readonly caller: string;
  readonly random: Random;
  readonly metrics: Registry;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Hall {
  readonly deps: CallsDeps;
  readonly metrics: CallMetrics;
  readonly demand: DemandTeller;
  /** By uid. */
  readonly services: Map<string, ServiceCalls>;
  stopping: boolean;
  /** Aborted when calls in hand have had their time. */
  readonly ending: AbortController;
}

export function createCalls(deps: CallsDeps): Calls {
  const services = new Map<string, ServiceCalls>();
  const demandOf = ({ uid }: ServiceId): { waiting: number; active: number } => {
    const calls = services.get(uid);
    return { waiting: calls?.waiting() ?? 0, active: calls?.active() ?? 0 };
  };
  const demand = createDemandTeller({ ...deps, demandOf });
  const metrics = createCallMetrics(deps.metrics);
  const ending = new AbortController();
  const hall: Hall = { deps, metrics, demand, services, stopping: false, ending };
  let turns = 0;
  deps.runners.onState((state) => services.get(state.service_uid)?.look());
  return {
    start: demand.start,
    perform: async (request) => {
      turns += 1;
      try {
        return await perform(hall, request, turns);
      } catch (error) {
        hall.metrics.ended(endOf(error));
        throw error;
      }
    },
    refuse: () => {
      hall.stopping = true;
      for (const calls of services.values()) calls.look();
    },
    abandon: () => {
      ending.abort(endedByStop());
    },
    stop: async () => {
      await demand.stop();
      await deps.client.close();
    },
  };
}

async function perform(hall: Hall, request: CallRequest, turn: number): Promise<Call> {
  const { deps } = hall;
  const { service, method, query, headers, body, signal } = request;
  const call_id = runName(service.name, deps.random.uuid());
  const performed = await callsOf(hall, service).perform({
    turn,
    arrivedAt: deps.clock.monotonic(),
    signal: AbortSignal.any([signal, hall.ending.signal]),
    body,
    wire: {
      call_id,
      traceparent: request.traceparent ?? newTraceparent(),
      timeout_ms: callTimeoutMs(deps.directory.get(service.name)?.timeout, deps.config.callTimeoutMs),
      method,
      // What OSCAR's proxy asks a service for (OSCAR §5.2).
      path: '/',
      query,
      headers,
    },
  });
  const { reply } = performed;
  hall.metrics.ended(reply.kind === 'answered' ? reply.result : reply.kind);
  if (reply.kind !== 'answered') {
    const { kind, message } = reply;
    deps.log.warn({ service: service.name, call_id, kind, message }, 'a runner gave no answer to a call');
  }
  return { ...performed, callId: call_id };
}

function callsOf(hall: Hall, service: ServiceId): ServiceCalls {
  const { deps, services, demand, metrics } = hall;
  const known = services.get(service.uid);
  if (known !== undefined) return known;
  if (services.size >= idleServices) {
    for (const [uid, calls] of services) if (calls.waiting() + calls.active() === 0) services.delete(uid);
  }
  const made = createServiceCalls({
    ...deps,
    service: service.name,
    state: () => deps.runners.runnersOf(service),
    obstacle: () => obstacle(hall, service),
    limits: { queue: deps.config.callQueue, waitMs: deps.config.callWaitMs },
    random: () => Number.parseInt(deps.random.hex(1), 16) / 255,
    onChange: () => {
      demand.changed(service);
    },
    onMissed: () => {
      demand.missed(service);
    },
    metrics,
  });
  services.set(service.uid, made);
  return made;
}

function obstacle({ deps, stopping }: Hall, { name, uid }: ServiceId): Obstacle | undefined {
  if (stopping) return { error: shuttingDown(), wanted: false };
  const known = deps.directory.get(name);
  return obstacleOf(name, known?.uid === uid ? known : undefined, deps.runners.runnersOf({ name, uid }));
}

function endOf(error: unknown): CallEnd {
  if (isAppError(error, 'limit_reached')) return 'queue_full';
  return isAppError(error, 'cancelled') ? 'cancelled' : 'no_runner';
}
