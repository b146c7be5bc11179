import { runChangedName, type MessageName } from './catalogue.ts';
import type { RunChanged, RunStart } from './messages.ts';
import type { Run } from './run.ts';

interface RunMessage<P> {
  readonly id: string;
  readonly name: MessageName;
  readonly key: string;
  readonly payload: P;
  readonly traceparent: string;
}

/** The command that starts a run's present attempt; its id makes publishing it twice one message. */
export function runStartMessage(
  run: Pick<Run, 'id' | 'service' | 'attempt' | 'traceparent'>,
  notBefore?: number,
): RunMessage<RunStart> {
  return {
    id: `${run.id}.${run.attempt}.start`,
    name: 'runs.start',
    key: run.service,
    payload: {
      run_id: run.id,
      service: run.service,
      attempt: run.attempt,
      ...(notBefore === undefined ? {} : { not_before: notBefore }),
    },
    traceparent: run.traceparent,
  };
}

/** The same with the run itself, for ledgers that may lose it. Its time line stays behind: it only grows. */
export function carryingStartMessage(run: Run, notBefore?: number): RunMessage<RunStart> {
  const message = runStartMessage(run, notBefore);
  return { ...message, payload: { ...message.payload, run: { ...run, timeline: [] } } };
}

/** The event that a run reached its present state. */
export function runChangedMessage(run: Run, at: number): RunMessage<RunChanged> {
  return {
    id: `${run.id}.${run.attempt}.${run.state}`,
    name: runChangedName(run.state),
    key: run.service,
    payload: {
      run_id: run.id,
      service: run.service,
      service_uid: run.service_uid,
      state: run.state,
      attempt: run.attempt,
      source: run.source,
      at,
      ...(run.exit_code === undefined ? {} : { exit_code: run.exit_code }),
      ...(run.failure === undefined ? {} : { failure: run.failure }),
    },
    traceparent: run.traceparent,
  };
}
