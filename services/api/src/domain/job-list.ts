import { isFinal, type Run } from '@sluice/shared/contracts';
import { Type, type Static } from 'typebox';
import { encodeGoJson, encodeGoString } from './go-json-encode.ts';

const Job = Type.Object({
  status: Type.String(),
  creation_time: Type.Optional(Type.String()),
  start_time: Type.Optional(Type.String()),
  finish_time: Type.Optional(Type.String()),
});
type Job = Static<typeof Job>;

/** OSCAR §1.8; for documentation, since `jobs` keeps the order of the runs. */
export const JobList = Type.Object({
  jobs: Type.Record(Type.String(), Job),
  next_page: Type.Optional(Type.String()),
});

const phases = {
  queued: 'Suspended',
  starting: 'Pending',
  running: 'Running',
  succeeded: 'Succeeded',
  failed: 'Failed',
  cancelled: 'Failed',
  superseded: 'Failed',
} as const satisfies Record<Run['state'], string>;

/** A run in the words of OSCAR §1.8: no times until there is a process, whole seconds. */
export function jobOf(run: Run): Job {
  const status = phases[run.state];
  if (run.state === 'queued') return { status };
  return {
    status,
    creation_time: kubeTime(run.created_at),
    ...(run.started_at === undefined ? {} : { start_time: kubeTime(run.started_at) }),
    ...(run.finished_at === undefined || !isFinal(run.state)
      ? {}
      : { finish_time: kubeTime(run.finished_at) }),
  };
}

/** The bytes of OSCAR §12.3's job list, in the order of the runs. */
export function encodeJobList(runs: readonly Run[], next: string | undefined): string {
  const jobs = runs.map((run) => `${encodeGoString(run.id)}:${encodeGoJson(Job, jobOf(run))}`);
  const page = next === undefined ? '' : `,"next_page":${encodeGoString(next)}`;
  return `{"jobs":{${jobs.join(',')}}${page}}`;
}

/** RFC 3339 in UTC with whole seconds (OSCAR §0). */
export function kubeTime(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19)}Z`;
}
