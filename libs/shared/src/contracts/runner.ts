import { createHmac } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { ServiceDefinition, ServiceSecrets } from './service.ts';

/** All that a runner needs to perform calls of one version of a service, one at a time; the scheduler makes it. */
export const RunnerPlan = Type.Object({
  runner_id: Type.String(),
  service_uid: Type.String(),
  service_version: Type.Integer(),
  definition: ServiceDefinition,
  script: Type.String(),
  secrets: ServiceSecrets,
});
export type RunnerPlan = Static<typeof RunnerPlan>;

/**
 * What goes with the body of one call: `POST <runner url>/invoke`, as base64url of its JSON in the header `x-sluice-call`. The
 * body is the caller's, unchanged.
 */
export const RunnerCall = Type.Object({
  /** Unique; stands for a run id in the script's environment and in the metadata of outputs. */
  call_id: Type.String(),
  traceparent: Type.String(),
  /** Milliseconds the script may run. */
  timeout_ms: Type.Integer({ minimum: 1 }),
  /** Of the caller's request, for the script's `Http_*` variables (OSCAR §5.3). */
  method: Type.String(),
  path: Type.String(),
  query: Type.String(),
  /** Lower-case names; credentials, cookies and hop-by-hop headers are left out. */
  headers: Type.Record(Type.String(), Type.String()),
});
export type RunnerCall = Static<typeof RunnerCall>;

/** Header of a runner's request that carries a `RunnerCall`. */
export const runnerCallHeader = 'x-sluice-call';

/** Bytes that the head of a runner's request may have: a caller's 16 KiB may grow threefold as escaped JSON in base64url. */
export const runnerHeadBytes = 65_536;

/**
 * Header of a runner's answer that says what became of the call. Without it the answer is not the script's: 401 wrong token,
 * 429 the runner has a call in hand, 503 it takes none any more. The three are sent before anything of the call was started.
 * `succeeded` comes with 200, `failed` with 500 (or 408 for a time-out, OSCAR §5.3), `cancelled` when the caller has gone.
 */
export const runnerResultHeader = 'x-sluice-result';

/**
 * `GET <runner url>/health`. After `POST <runner url>/drain` (204) a runner takes no call any more; the one in hand ends as it may, and whoever keeps the runner
 * ends it when it is not busy.
 */
export const RunnerHealth = Type.Object({
  state: Type.Union([Type.Literal('ready'), Type.Literal('draining'), Type.Literal('ended')]),
  busy: Type.Boolean(),
});
export type RunnerHealth = Static<typeof RunnerHealth>;

/** How a call ended. */
export const RunnerResult = Type.Union([
  Type.Literal('succeeded'),
  Type.Literal('failed'),
  Type.Literal('timed_out'),
  Type.Literal('cancelled'),
  /** The runner itself failed (a store was away, no process could be made); `Retry-After` may say when to come back. */
  Type.Literal('unavailable'),
]);
export type RunnerResult = Static<typeof RunnerResult>;

/** One line that a runner's scripts printed: `GET <runner url>/logs?tail=<lines>` answers `{"entries":[…]}`, oldest first. */
export const RunnerLogEntry = Type.Object({
  /** Epoch milliseconds. */
  at: Type.Number(),
  message: Type.String(),
});
export type RunnerLogEntry = Static<typeof RunnerLogEntry>;

/**
 * The bearer token of one runner. Whoever has the key can make it, no runner can make another's.
 * @param key secret of the installation, at least 32 bytes
 */
export function runnerToken(key: string, runnerId: string): string {
  return createHmac('sha256', key).update(`runner:${runnerId}`).digest('hex');
}
