import type { Api } from '../api/routes.ts';
import { isFinal, type WireRun } from '../api/wire.ts';
import { CliError } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';
import { createPauses, stillGoing, type Deadline } from '../runs/wait.ts';

export interface ObjectName {
  readonly bucket: string;
  readonly key: string;
}

export interface StartedRunsDeps {
  readonly api: Pick<Api, 'runs'>;
  readonly sleep: (ms: number) => Promise<void>;
  readonly deadline: Deadline;
}

const pageSize = 100;

/** Ids of the runs that an object has had so far: those that an upload starts are not among them, whatever the clocks say. */
export async function knownRuns(api: Pick<Api, 'runs'>, object: ObjectName): Promise<ReadonlySet<string>> {
  const { items } = await api.runs({ bucket: object.bucket, key: object.key }, pageSize);
  return new Set(items.map(({ id }) => id));
}

/**
 * Waits until each service has run for an object that was just uploaded.
 * @param known what `knownRuns` gave before the upload
 * @returns one run for each service, all of them ended
 * @throws CliError `timed_out`
 */
export async function waitForStartedRuns(
  deps: StartedRunsDeps,
  object: ObjectName,
  services: readonly string[],
  known: ReadonlySet<string>,
): Promise<readonly WireRun[]> {
  const pause = createPauses(deps.deadline, deps.sleep);
  for (;;) {
    const { items } = await deps.api.runs({ bucket: object.bucket, key: object.key }, pageSize);
    const started = items.filter((run) => !known.has(run.id) && services.includes(run.service));
    const runs = services.map((service) => runOf(started, service));
    if (runs.every((run) => run !== undefined && isFinal(run)))
      return runs.filter((run) => run !== undefined);
    if (!(await pause())) throw timedOut(object, services, runs);
  }
}

/** The newest; one that was superseded counts only while its successor is not there. */
function runOf(started: readonly WireRun[], service: string): WireRun | undefined {
  const own = started.filter((run) => run.service === service);
  return own.find(({ state }) => state !== 'superseded') ?? own[0];
}

function timedOut(
  object: ObjectName,
  services: readonly string[],
  runs: readonly (WireRun | undefined)[],
): CliError {
  const going = runs.find((run) => run !== undefined && !isFinal(run));
  if (going !== undefined) return stillGoing(going);
  const missing = services.filter((_, index) => runs[index] === undefined);
  return new CliError(
    exitCodes.timedOut,
    `No run of ${missing.join(', ')} has begun for ${object.bucket}/${object.key}.`,
    { code: 'timed_out', hint: 'sluice status shows what the server has to do.' },
  );
}
