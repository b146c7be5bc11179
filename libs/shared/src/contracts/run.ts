import { Type, type Static } from 'typebox';

export const RunState = Type.Union(
  [
    Type.Literal('queued'),
    Type.Literal('starting'),
    Type.Literal('running'),
    Type.Literal('succeeded'),
    Type.Literal('failed'),
    Type.Literal('cancelled'),
    Type.Literal('superseded'),
  ],
  { title: 'RunState' },
);
export type RunState = Static<typeof RunState>;

export const runStates = [
  'queued',
  'starting',
  'running',
  'succeeded',
  'failed',
  'cancelled',
  'superseded',
] as const satisfies readonly RunState[];

/** States that a run occupies a slot in. */
export const activeStates = ['starting', 'running'] as const satisfies readonly RunState[];
/** States that a run never leaves. */
export const finalStates = [
  'succeeded',
  'failed',
  'cancelled',
  'superseded',
] as const satisfies readonly RunState[];

export function isFinal(state: RunState): boolean {
  return (finalStates as readonly RunState[]).includes(state);
}

/** Bytes that travel with a message: in the message while they are small, in the system bucket past that. */
export const Payload = Type.Union([
  Type.Object({
    kind: Type.Literal('inline'),
    encoding: Type.Union([Type.Literal('utf8'), Type.Literal('base64')]),
    data: Type.String(),
  }),
  Type.Object({
    kind: Type.Literal('object'),
    /** Key in the system bucket, named by content hash. */
    key: Type.String(),
    size: Type.Integer(),
  }),
]);
export type Payload = Static<typeof Payload>;

/** One object in one state. `identity` is what a notification and a listing of that state both give. */
export const ObjectRef = Type.Object({
  bucket: Type.String(),
  key: Type.String(),
  size: Type.Integer(),
  etag: Type.String(),
  identity: Type.String(),
  version_id: Type.Optional(Type.String()),
  /** Epoch milliseconds, in the store's clock. */
  last_modified: Type.Number(),
});
export type ObjectRef = Static<typeof ObjectRef>;

export const Failure = Type.Object(
  {
    /** A word for programs: `script_failed`, `timed_out`, `input_missing`, … */
    code: Type.String(),
    /** A sentence for the person whose file it was. */
    message: Type.String(),
  },
  { title: 'Failure' },
);
export type Failure = Static<typeof Failure>;

export const TimelineEntry = Type.Object({
  /** Epoch milliseconds. */
  at: Type.Number(),
  attempt: Type.Integer(),
  state: RunState,
  message: Type.Optional(Type.String()),
});
export type TimelineEntry = Static<typeof TimelineEntry>;

export const RunSource = Type.Union([
  Type.Literal('notification'),
  Type.Literal('reconciler'),
  Type.Literal('backfill'),
  Type.Literal('job'),
  Type.Literal('retry'),
]);
export type RunSource = Static<typeof RunSource>;

/** One input's way to one outcome, in one or more attempts. Times are epoch milliseconds. */
export const Run = Type.Object({
  id: Type.String(),
  service: Type.String(),
  service_uid: Type.String(),
  /** Fixed when the first attempt starts. */
  service_version: Type.Optional(Type.Integer()),
  state: RunState,
  /** The attempt that is queued, under way, or was the last; from 1. */
  attempt: Type.Integer(),
  source: RunSource,
  /** The object that the run is about; absent for a direct `/job` call. */
  input: Type.Optional(ObjectRef),
  /** The event as the script's `EVENT` and the supervisor's recognition see it. */
  event: Payload,
  /** Who caused it: a principal or an access key. */
  user: Type.Optional(Type.String()),
  traceparent: Type.String(),
  /** How many services the data has been through before this one. */
  hop: Type.Integer(),
  created_at: Type.Number(),
  started_at: Type.Optional(Type.Number()),
  finished_at: Type.Optional(Type.Number()),
  exit_code: Type.Optional(Type.Integer()),
  failure: Type.Optional(Failure),
  outputs: Type.Optional(Type.Array(ObjectRef)),
  /** Outputs past those listed in `outputs`, which holds the first 100. */
  outputs_omitted: Type.Optional(Type.Integer()),
  retry_of: Type.Optional(Type.String()),
  cancel_requested_at: Type.Optional(Type.Number()),
  /** Attempts lost after their script had started (counted against `infra_retries`). */
  infra_failures: Type.Integer(),
  script_failures: Type.Integer(),
  /** At most 50 entries; the middle is dropped past that. */
  timeline: Type.Array(TimelineEntry),
});
export type Run = Static<typeof Run>;
