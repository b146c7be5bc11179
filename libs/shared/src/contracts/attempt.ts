import { Type, type Static } from 'typebox';
import { Failure, ObjectRef, Payload } from './run.ts';
import { ServiceDefinition, ServiceSecrets } from './service.ts';

/** All that an executor and the supervisor need for one attempt; the scheduler makes it, a sidecar can read it as JSON. */
export const AttemptPlan = Type.Object({
  run_id: Type.String(),
  attempt: Type.Integer(),
  service_uid: Type.String(),
  service_version: Type.Integer(),
  definition: ServiceDefinition,
  script: Type.String(),
  secrets: ServiceSecrets,
  event: Payload,
  input: Type.Optional(ObjectRef),
  traceparent: Type.String(),
  hop: Type.Integer(),
  /** Milliseconds the script may run, from its start. */
  timeout_ms: Type.Integer(),
});
export type AttemptPlan = Static<typeof AttemptPlan>;

/** Names one attempt of one run. */
export const AttemptRef = Type.Object({ run_id: Type.String(), attempt: Type.Integer() });
export type AttemptRef = Static<typeof AttemptRef>;

/** How one attempt ended. `lost` says that the attempt itself vanished (killed process, deleted pod). */
export const AttemptOutcome = Type.Object({
  result: Type.Union([
    Type.Literal('succeeded'),
    Type.Literal('failed'),
    Type.Literal('cancelled'),
    Type.Literal('superseded'),
    Type.Literal('lost'),
  ]),
  /** Whether the user's script had been started; a loss before that retries freely. */
  script_started: Type.Boolean(),
  exit_code: Type.Optional(Type.Integer()),
  failure: Type.Optional(Failure),
  /** True where another attempt of the same input may do better (a store that was away, a full disk). */
  retryable: Type.Optional(Type.Boolean()),
  outputs: Type.Array(ObjectRef),
  outputs_omitted: Type.Optional(Type.Integer()),
});
export type AttemptOutcome = Static<typeof AttemptOutcome>;

/** What an executor says of an attempt, as it goes. */
export const AttemptReport = Type.Union([
  Type.Object({
    kind: Type.Literal('progress'),
    run_id: Type.String(),
    attempt: Type.Integer(),
    /** `running` from the moment the script has been started. */
    phase: Type.Union([Type.Literal('fetching'), Type.Literal('running'), Type.Literal('uploading')]),
    message: Type.Optional(Type.String()),
  }),
  Type.Object({
    kind: Type.Literal('finished'),
    run_id: Type.String(),
    attempt: Type.Integer(),
    outcome: AttemptOutcome,
  }),
]);
export type AttemptReport = Static<typeof AttemptReport>;
