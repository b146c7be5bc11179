import {
  OutcomeRecord,
  outcomeKey,
  runsPrefix,
  type AttemptOutcome,
  type Run,
} from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import { isAppError } from '@sluice/shared/errors';
import { SYSTEM_BUCKET, type ObjectStore } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { Compile } from 'typebox/compile';

/** Names what a supervisor wrote of one attempt. */
export interface OutcomeRef {
  readonly service: string;
  readonly runId: string;
  readonly attempt: number;
}

export interface FoundOutcome extends OutcomeRef {
  /** Of the object, epoch milliseconds. */
  readonly writtenAt: number;
}

/** How attempts ended, as their supervisors wrote it (`OutcomeRecord`). */
export interface Outcomes {
  /** Undefined where there is none, or none that can be read. */
  read(ref: OutcomeRef): Promise<OutcomeRecord | undefined>;
  has(ref: OutcomeRef): Promise<boolean>;
  /** Leaves one that is there as it is. */
  write(ref: OutcomeRef, record: OutcomeRecord): Promise<void>;
  /** A page at a time, those of one run together; of one service, or of all there ever were. */
  list(service?: string): AsyncIterable<readonly FoundOutcome[]>;
  remove(refs: readonly OutcomeRef[]): Promise<void>;
}

/** A record names at most some hundred outputs: whatever is larger was not written by a supervisor. */
const maxBytes = 2 ** 20;
const pageSize = 500;
const parallel = 8;
const keyPattern = /^runs\/([^/]+)\/([^/]+)\/outcome-(\d{1,9})\.json$/;

export function createOutcomes(objects: ObjectStore, log: Logger): Outcomes {
  const contract = Compile(OutcomeRecord);
  return {
    read: async (ref) => {
      const bytes = await readBytes(objects, outcomeKey(ref));
      const record = bytes === undefined ? undefined : parse(bytes);
      if (record === undefined) return undefined;
      if (contract.Check(record)) return record;
      log.warn({ run_id: ref.runId, attempt: ref.attempt }, 'outcome object is not of its contract');
      return undefined;
    },
    has: async (ref) => (await objects.head(SYSTEM_BUCKET, outcomeKey(ref))) !== undefined,
    write: async (ref, record) => {
      const body = Buffer.from(JSON.stringify(record));
      const options = { contentType: 'application/json', ifNoneMatch: '*' as const };
      try {
        await objects.put(SYSTEM_BUCKET, outcomeKey(ref), body, options);
      } catch (error) {
        if (!isAppError(error, 'precondition_failed')) throw error;
      }
    },
    list: (service) => list(objects, service === undefined ? 'runs/' : runsPrefix(service)),
    remove: async (refs) => {
      for (let at = 0; at < refs.length; at += parallel) {
        const some = refs.slice(at, at + parallel);
        await Promise.all(some.map((ref) => objects.remove(SYSTEM_BUCKET, outcomeKey(ref))));
      }
    },
  };
}

/** Writes what no supervisor could. */
export interface OutcomeKeeper {
  /**
   * A run ended otherwise than well: cancelled before it began, given up, lost. An emptied ledger would else know nothing of it, and its input would be run again.
   * @param before the run while the attempt was waiting or under way
   */
  keep(before: Run, outcome: AttemptOutcome): void;
  /** Resolves when nothing is being written. */
  idle(): Promise<void>;
}

export function createOutcomeKeeper(
  outcomes: Outcomes | undefined,
  deps: { readonly clock: Clock; readonly log: Logger },
): OutcomeKeeper {
  const writes = new Set<Promise<void>>();
  return {
    keep: (before, outcome) => {
      // A supervisor that got so far has written it.
      if (outcomes === undefined || outcome.result === 'succeeded') return;
      const ref = { service: before.service, runId: before.id, attempt: before.attempt };
      const write = outcomes
        .write(ref, { outcome, run: before, ended_at: deps.clock.now() })
        .catch((error: unknown) => {
          // The ledger has it; it would be missed only by one that is restored.
          deps.log.warn({ err: error, run_id: before.id }, 'outcome object not written');
        });
      writes.add(write);
      void write.finally(() => writes.delete(write));
    },
    idle: async () => {
      await Promise.all(writes);
    },
  };
}

async function readBytes(objects: ObjectStore, key: string): Promise<Uint8Array | undefined> {
  try {
    const { info, body } = await objects.get(SYSTEM_BUCKET, key);
    if (info.size > maxBytes) {
      body.destroy();
      return undefined;
    }
    return Buffer.concat(await body.toArray());
  } catch (error) {
    if (isAppError(error, 'not_found')) return undefined;
    throw error;
  }
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return {};
  }
}

async function* list(objects: ObjectStore, prefix: string): AsyncGenerator<readonly FoundOutcome[]> {
  let after: string | undefined;
  // Objects of one run follow each other: the last run of a page waits for the next one.
  let kept: FoundOutcome[] = [];
  do {
    const page = await objects.list(SYSTEM_BUCKET, {
      prefix,
      limit: pageSize,
      ...(after === undefined ? {} : { after }),
    });
    const found = page.objects.flatMap(({ key, lastModified }) => refOf(key, lastModified) ?? []);
    const all = [...kept, ...found];
    const last = page.next === undefined ? undefined : all.at(-1)?.runId;
    kept = all.filter(({ runId }) => runId === last);
    const whole = all.filter(({ runId }) => runId !== last);
    if (whole.length > 0) yield whole;
    after = page.next;
  } while (after !== undefined);
}

function refOf(key: string, writtenAt: number): FoundOutcome | undefined {
  const [, service, runId, attempt] = keyPattern.exec(key) ?? [];
  if (service === undefined || runId === undefined) return undefined;
  return { service, runId, attempt: Number(attempt), writtenAt };
}
