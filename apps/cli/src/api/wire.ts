import { CliError } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';

/** An object as the server's JSON names it. */
export interface WireObject {
  readonly bucket: string;
  readonly key: string;
  readonly size: number | undefined;
  readonly etag: string | undefined;
}

interface WireTimelineEntry {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly attempt: number;
  readonly state: string;
  readonly message: string | undefined;
}

/** A run. Times are epoch milliseconds. `raw` is what the server sent, for `--json`. */
export interface WireRun {
  readonly id: string;
  readonly service: string;
  readonly state: string;
  readonly attempt: number;
  readonly source: string | undefined;
  readonly input: WireObject | undefined;
  readonly createdAt: number | undefined;
  readonly startedAt: number | undefined;
  readonly finishedAt: number | undefined;
  readonly exitCode: number | undefined;
  readonly failure: { readonly code: string; readonly message: string } | undefined;
  readonly outputs: readonly WireObject[];
  readonly outputsOmitted: number;
  readonly retryOf: string | undefined;
  readonly traceId: string | undefined;
  readonly timeline: readonly WireTimelineEntry[];
  readonly raw: unknown;
}

export interface WireEntry {
  readonly key: string;
  readonly size: number;
  readonly etag: string | undefined;
  readonly lastModified: number | undefined;
  readonly raw: unknown;
}

export interface WireDeadLetter {
  readonly id: string;
  readonly raw: JsonRecord;
}

export type JsonRecord = Readonly<Record<string, unknown>>;

/** States that a run never leaves. */
const finalStates: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'superseded']);

export function isFinal(run: WireRun): boolean {
  return finalStates.has(run.state);
}

/** The server, or what stands in its place, answered something that its documentation does not have. */
export function strangeAnswer(what: string): CliError {
  return new CliError(exitCodes.failed, `The server's answer is not understood: ${what}.`, {
    code: 'strange_answer',
    hint: 'Is this a Sluice server, and of this version? "sluice status" tells.',
  });
}

export function record(value: unknown, what: string): JsonRecord {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw strangeAnswer(`${what} is not an object`);
  return value as JsonRecord;
}

/** The list under a key; OSCAR's empty lists are `null`. */
export function listIn(value: unknown, what: string): readonly unknown[] {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) throw strangeAnswer(`${what} is not a list`);
  return value;
}

export function textIn(source: JsonRecord, key: string): string | undefined {
  const value = source[key];
  return typeof value === 'string' ? value : undefined;
}

export function numberIn(source: JsonRecord, key: string): number | undefined {
  const value = source[key];
  return typeof value === 'number' ? value : undefined;
}

export function timeIn(source: JsonRecord, key: string): number | undefined {
  const at = Date.parse(textIn(source, key) ?? '');
  return Number.isNaN(at) ? undefined : at;
}

export function required(source: JsonRecord, key: string, what: string): string {
  const value = textIn(source, key);
  if (value === undefined) throw strangeAnswer(`${what} has no "${key}"`);
  return value;
}

export function parseRun(raw: unknown): WireRun {
  const run = record(raw, 'a run');
  return {
    id: required(run, 'id', 'a run'),
    service: required(run, 'service', 'a run'),
    state: required(run, 'state', 'a run'),
    attempt: numberIn(run, 'attempt') ?? 1,
    source: textIn(run, 'source'),
    input: run['input'] === undefined || run['input'] === null ? undefined : parseObject(run['input']),
    createdAt: timeIn(run, 'created_at'),
    startedAt: timeIn(run, 'started_at'),
    finishedAt: timeIn(run, 'finished_at'),
    exitCode: numberIn(run, 'exit_code'),
    failure: parseFailure(run['failure']),
    outputs: listIn(run['outputs'], '"outputs"').map(parseObject),
    outputsOmitted: numberIn(run, 'outputs_omitted') ?? 0,
    retryOf: textIn(run, 'retry_of'),
    traceId: textIn(run, 'trace_id'),
    timeline: listIn(run['timeline'], '"timeline"').map(parseTimelineEntry),
    raw,
  };
}

function parseObject(raw: unknown): WireObject {
  const object = record(raw, 'an object');
  return {
    bucket: required(object, 'bucket', 'an object'),
    key: required(object, 'key', 'an object'),
    size: numberIn(object, 'size'),
    etag: textIn(object, 'etag'),
  };
}

function parseFailure(raw: unknown): WireRun['failure'] {
  if (raw === undefined || raw === null) return undefined;
  const failure = record(raw, '"failure"');
  return { code: textIn(failure, 'code') ?? 'failed', message: textIn(failure, 'message') ?? '' };
}

function parseTimelineEntry(raw: unknown): WireTimelineEntry {
  const entry = record(raw, 'an entry of "timeline"');
  return {
    at: timeIn(entry, 'at') ?? Number.NaN,
    attempt: numberIn(entry, 'attempt') ?? 1,
    state: textIn(entry, 'state') ?? '',
    message: textIn(entry, 'message'),
  };
}

export function parseEntry(raw: unknown): WireEntry {
  const entry = record(raw, 'an object');
  return {
    key: required(entry, 'key', 'an object'),
    size: numberIn(entry, 'size') ?? 0,
    etag: textIn(entry, 'etag'),
    lastModified: timeIn(entry, 'last_modified'),
    raw,
  };
}

export function parseDeadLetter(raw: unknown): WireDeadLetter {
  const letter = record(raw, 'a dead letter');
  const id = letter['id'];
  if (typeof id !== 'string' && typeof id !== 'number') throw strangeAnswer('a dead letter has no "id"');
  return { id: String(id), raw: letter };
}
