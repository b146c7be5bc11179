import { createHash } from 'node:crypto';
import { isFinal, type Run } from '../contracts/index.ts';
import { courseOf, runOf, stateNumber } from './run-record.ts';

/*
 * A run is two strings in two hashes, by its number: the facts, which never change and may be big (the event), and the record. A record is lines:
 *   revision, counted up with each change
 *   state, as its number
 *   [id, service, service_uid, created_at, input] as JSON: what the scripts need to find the run's entries in the indexes
 *   attempt
 *   version of the service, or nothing
 *   the rest, as JSON
 */

/** A run as it is stored, and what a change of it is conditional on. */
export interface StoredRun {
  /** Its number: place in all lists. */
  readonly seq: string;
  readonly revision: number;
  readonly run: Run;
}

type Head = readonly [id: string, service: string, uid: string, createdAt: number, input: string];

export function recordOf(run: Run, revision: number): string {
  const head: Head = [run.id, run.service, run.service_uid, run.created_at, inputToken(run.input)];
  const version = run.service_version ?? '';
  return [revision, stateNumber(run.state), JSON.stringify(head), run.attempt, version, courseOf(run)].join(
    '\n',
  );
}

export function factsTextOf({ source, input, event, user, traceparent, hop, retry_of }: Run): string {
  return JSON.stringify({ source, input, event, user, traceparent, hop, retry_of });
}

export function storedRun(seq: string, record: string, facts: string): StoredRun {
  const [revision = '', state = '', head = '[]', attempt = '', version = '', course = '{}'] =
    record.split('\n');
  const [id, service, uid, createdAt] = JSON.parse(head) as Head;
  const run = runOf({
    seq: Number(seq),
    state: Number(state),
    attempt: Number(attempt),
    service_version: version === '' ? null : Number(version),
    course,
    facts,
  });
  return {
    seq,
    revision: Number(revision),
    run: { ...run, id, service, service_uid: uid, created_at: createdAt },
  };
}

/** Names the index of one input; nothing for none. Keys of objects may be long, and are in each of their runs anyway. */
export function inputToken(input: { readonly bucket: string; readonly key: string } | undefined): string {
  if (input === undefined) return '';
  const hash = createHash('sha256').update(JSON.stringify([input.bucket, input.key]));
  return hash.digest('base64url').slice(0, 20);
}

/** The version that a run keeps in use; nothing for none. */
export function versionInUse(run: Run): string {
  if (run.service_version === undefined || isFinal(run.state)) return '';
  return `${run.service_uid}/${run.service_version}`;
}
