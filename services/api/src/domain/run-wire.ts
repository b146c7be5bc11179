import { Failure, type ObjectRef, Run, RunState, runStates } from '@sluice/shared/contracts';
import { Type, type Static } from 'typebox';

const WireObject = Type.Object({
  bucket: Type.String(),
  key: Type.String(),
  size: Type.Integer(),
  etag: Type.String(),
});

/** A run as Sluice's routes give it; times are RFC 3339 in UTC. */
export const WireRun = Type.Object(
  {
    id: Type.String(),
    service: Type.String(),
    service_version: Type.Optional(Type.Integer()),
    state: RunState,
    attempt: Type.Integer(),
    source: Run.properties.source,
    user: Type.Optional(Type.String()),
    input: Type.Optional(WireObject),
    created_at: Type.String(),
    started_at: Type.Optional(Type.String()),
    finished_at: Type.Optional(Type.String()),
    cancel_requested_at: Type.Optional(Type.String()),
    exit_code: Type.Optional(Type.Integer()),
    failure: Type.Optional(Failure),
    outputs: Type.Optional(Type.Array(WireObject)),
    outputs_omitted: Type.Optional(Type.Integer()),
    retry_of: Type.Optional(Type.String()),
    trace_id: Type.String(),
    hop: Type.Integer(),
    timeline: Type.Array(
      Type.Object({
        at: Type.String(),
        state: RunState,
        attempt: Type.Integer(),
        message: Type.Optional(Type.String()),
      }),
    ),
  },
  { title: 'Run' },
);
export type WireRun = Static<typeof WireRun>;

/** Absent fields stay absent. The event and what identifies an object to us are not shown. */
export function runOnWire(run: Run): WireRun {
  return dropAbsent({
    id: run.id,
    service: run.service,
    service_version: run.service_version,
    state: run.state,
    attempt: run.attempt,
    source: run.source,
    user: run.user,
    input: run.input === undefined ? undefined : wireObject(run.input),
    created_at: wireTime(run.created_at),
    started_at: optionalTime(run.started_at),
    finished_at: optionalTime(run.finished_at),
    cancel_requested_at: optionalTime(run.cancel_requested_at),
    exit_code: run.exit_code,
    failure: run.failure,
    outputs: run.outputs?.map((output) => wireObject(output)),
    outputs_omitted: run.outputs_omitted,
    retry_of: run.retry_of,
    // W3C Trace Context §3.2: version, trace id, span id, flags.
    trace_id: run.traceparent.split('-')[1] ?? '',
    hop: run.hop,
    timeline: run.timeline.map(({ at, state, attempt, message }) =>
      dropAbsent({ at: wireTime(at), state, attempt, message }),
    ),
  });
}

function wireObject({ bucket, key, size, etag }: ObjectRef): Static<typeof WireObject> {
  return { bucket, key, size, etag };
}

/** Epoch ms as RFC 3339 with milliseconds. */
export function wireTime(at: number): string {
  return new Date(at).toISOString();
}

function optionalTime(at: number | undefined): string | undefined {
  return at === undefined ? undefined : wireTime(at);
}

/** The type of an object whose undefined properties have been left out. */
type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Leaves out what is undefined. */
export function dropAbsent<T extends object>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as Present<T>;
}

/** States of a comma list; undefined where a word is no state. */
export function parseStates(list: string): RunState[] | undefined {
  const words = list.split(',').map((word) => word.trim());
  const states = runStates.filter((state) => words.includes(state));
  return new Set(words).size === states.length ? states : undefined;
}
