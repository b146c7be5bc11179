import { isFinal, type Run, runStates, type RunState, type TimelineEntry } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { NewRun, Transition } from '../stores/index.ts';

/** What never changes of a run. */
type Facts = Pick<
  Run,
  | 'id'
  | 'service'
  | 'service_uid'
  | 'source'
  | 'input'
  | 'event'
  | 'user'
  | 'traceparent'
  | 'hop'
  | 'created_at'
  | 'retry_of'
>;

/** What changes, apart from what has a column. */
type Course = Omit<Run, keyof Facts | 'state' | 'attempt' | 'service_version'>;

/** A run as its tables hold it. */
export interface RunRow {
  readonly seq: number;
  readonly state: number;
  readonly attempt: number;
  readonly service_version: number | null;
  readonly course: string;
  readonly facts: string;
}

const timelineLimit = 50;
/** Entries kept from the beginning when the middle goes. */
const timelineHead = 20;
const messageLimit = 1000;

export function stateNumber(state: RunState): number {
  return runStates.indexOf(state);
}

export function runOf(row: RunRow): Run {
  return {
    ...(JSON.parse(row.facts) as Facts),
    ...(row.service_version === null ? {} : { service_version: row.service_version }),
    state: runStates[row.state] ?? 'failed',
    attempt: row.attempt,
    ...(JSON.parse(row.course) as Course),
  };
}

export function factsOf(run: Run): string {
  const { id, service, service_uid, source, input, event, user, traceparent, hop, created_at, retry_of } =
    run;
  return JSON.stringify({
    id,
    service,
    service_uid,
    source,
    input,
    event,
    user,
    traceparent,
    hop,
    created_at,
    retry_of,
  } satisfies Record<keyof Facts, unknown>);
}

export function courseOf(run: Run): string {
  const course: Record<keyof Course, unknown> = {
    started_at: run.started_at,
    finished_at: run.finished_at,
    exit_code: run.exit_code,
    failure: run.failure,
    outputs: run.outputs,
    outputs_omitted: run.outputs_omitted,
    cancel_requested_at: run.cancel_requested_at,
    infra_failures: run.infra_failures,
    script_failures: run.script_failures,
    timeline: run.timeline,
  };
  return JSON.stringify(course);
}

/** A run as it is accepted. */
export function acceptedRun(run: NewRun, at: number): Run {
  return {
    ...run,
    state: 'queued',
    attempt: 1,
    created_at: at,
    infra_failures: 0,
    script_failures: 0,
    timeline: [
      { at, attempt: 1, state: 'queued', message: `accepted: ${sourceOf(run)}`.slice(0, messageLimit) },
    ],
  };
}

function sourceOf({ source, input, retry_of }: NewRun): string {
  const object = input === undefined ? 'a file' : `${input.bucket}/${input.key}`;
  const sentences: Readonly<Record<Run['source'], string>> = {
    notification: `upload of ${object}`,
    reconciler: `${object} was found in its bucket`,
    backfill: `back-fill of ${object}`,
    job: 'a call of /job',
    retry: `retry of ${retry_of ?? 'an earlier run'}`,
  };
  return sentences[source];
}

/** The run with one more line on its time line; the middle goes where there are too many. */
export function noted(run: Run, entry: TimelineEntry): Run {
  const { message, ...rest } = entry;
  const timeline = [
    ...run.timeline,
    message === undefined ? rest : { ...rest, message: message.slice(0, messageLimit) },
  ];
  if (timeline.length > timelineLimit) timeline.splice(timelineHead, timeline.length - timelineLimit);
  return { ...run, timeline };
}

/** Why a run may not change as asked; undefined where it may. */
export function refusalOf(run: Run, change: Transition): 'state' | 'attempt' | undefined {
  // A run never leaves a final state, whatever the caller allows.
  if (isFinal(run.state) || !change.from.includes(run.state)) return 'state';
  return change.attempt === undefined || change.attempt === run.attempt ? undefined : 'attempt';
}

/**
 * The run after an allowed change. The way to a new attempt drops what is left of the one before (start, exit code,
 * failure, outputs), unless `set` says otherwise; a success has no failure.
 */
export function changed(run: Run, change: Transition, at: number): Run {
  const next: Run = { ...run, ...change.set, state: change.to };
  const set = change.set ?? {};
  if (change.to === 'queued' || change.to === 'starting') {
    delete next.started_at;
    if (set.exit_code === undefined) delete next.exit_code;
    if (set.failure === undefined) delete next.failure;
    if (set.outputs === undefined) delete next.outputs;
    if (set.outputs_omitted === undefined) delete next.outputs_omitted;
  }
  if (change.to === 'running') next.started_at = run.started_at ?? at;
  if (change.to === 'succeeded' && set.failure === undefined) delete next.failure;
  if (isFinal(change.to)) next.finished_at = at;
  return noted(next, {
    at,
    attempt: next.attempt,
    state: change.to,
    ...(change.message === undefined ? {} : { message: change.message }),
  });
}

/** Ids or runs a call, at most. */
const maxBatch = 1000;

/** @throws AppError `invalid_input` for more than a call may have */
export function checkBatch(items: readonly unknown[]): void {
  if (items.length <= maxBatch) return;
  throw new AppError('invalid_input', `At most ${maxBatch} a call.`, { details: { given: items.length } });
}
