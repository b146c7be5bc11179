import {
  listIn,
  numberIn,
  record,
  required,
  strangeAnswer,
  textIn,
  timeIn,
  type JsonRecord,
} from './wire.ts';

/** Steps that are done, and those that are known so far. */
export interface WireProgress {
  readonly done: number;
  readonly total: number;
  /** The step under way. */
  readonly step: string | undefined;
}

/** A request for an image. Times are epoch milliseconds. `raw` is what the server sent, for `--json`. */
export interface WireBuild {
  readonly id: string;
  readonly state: string;
  readonly kind: string | undefined;
  readonly source: string | undefined;
  readonly target: string | undefined;
  /** As clusters pull it, by tag. */
  readonly image: string | undefined;
  readonly digest: string | undefined;
  readonly size: number | undefined;
  readonly message: string | undefined;
  readonly code: string | undefined;
  readonly progress: WireProgress | undefined;
  /** Answered without a build. */
  readonly reused: boolean;
  readonly createdAt: number | undefined;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  readonly raw: JsonRecord;
}

/** An image that was built. */
export interface WireImage {
  readonly tag: string;
  /** As clusters pull it, by tag. */
  readonly image: string;
  readonly digest: string;
  readonly size: number | undefined;
  readonly createdAt: number | undefined;
  readonly kind: string | undefined;
  readonly source: string | undefined;
  /** Services whose definition names it. */
  readonly usedBy: readonly string[];
  readonly raw: JsonRecord;
}

export interface WirePruned {
  readonly removed: readonly WireVerdict[];
  readonly kept: readonly WireVerdict[];
  readonly collection: { readonly state: string; readonly freedBytes: number | undefined } | undefined;
  readonly raw: JsonRecord;
}

/** What becomes of an image, and why. */
interface WireVerdict {
  readonly image: string;
  readonly why: string;
}

export interface WireLogLine {
  /** Where the next line begins: asked for from here on, the log goes on after this one. */
  readonly offset: number;
  readonly line: string;
  /** As the server sent it. */
  readonly raw: JsonRecord;
}

/** States that a build never leaves. */
const finalStates: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'expired']);

export function isEnded(build: WireBuild): boolean {
  return finalStates.has(build.state);
}

export function parseBuild(value: unknown): WireBuild {
  const raw = record(value, 'a build');
  return {
    id: required(raw, 'id', 'a build'),
    state: required(raw, 'state', 'a build'),
    kind: textIn(raw, 'kind'),
    source: textIn(raw, 'source'),
    target: textIn(raw, 'target'),
    image: textIn(raw, 'image'),
    digest: textIn(raw, 'digest'),
    size: numberIn(raw, 'size'),
    message: textIn(raw, 'message'),
    code: textIn(raw, 'code'),
    progress: parseProgress(raw['progress']),
    reused: raw['reused'] === true,
    createdAt: timeIn(raw, 'created_at'),
    startedAt: timeIn(raw, 'started_at'),
    endedAt: timeIn(raw, 'ended_at'),
    raw,
  };
}

function parseProgress(value: unknown): WireProgress | undefined {
  if (value === undefined || value === null) return undefined;
  const progress = record(value, '"progress"');
  return {
    done: numberIn(progress, 'done') ?? 0,
    total: numberIn(progress, 'total') ?? 0,
    step: textIn(progress, 'step'),
  };
}

export function parseImage(value: unknown): WireImage {
  const raw = record(value, 'an image');
  return {
    tag: required(raw, 'tag', 'an image'),
    image: required(raw, 'image', 'an image'),
    digest: required(raw, 'digest', 'an image'),
    size: numberIn(raw, 'size'),
    createdAt: timeIn(raw, 'created_at'),
    kind: textIn(raw, 'kind'),
    source: textIn(raw, 'source'),
    usedBy: listIn(raw['used_by'], '"used_by"').map(String),
    raw,
  };
}

export function parsePruned(value: unknown): WirePruned {
  const raw = record(value, 'what was pruned');
  const verdicts = (key: string): WireVerdict[] =>
    listIn(raw[key], `"${key}"`).map((item) => {
      const verdict = record(item, `an entry of "${key}"`);
      return { image: required(verdict, 'image', `an entry of "${key}"`), why: textIn(verdict, 'why') ?? '' };
    });
  const { collection } = raw;
  const collected =
    collection === undefined || collection === null ? undefined : record(collection, '"collection"');
  return {
    removed: verdicts('removed'),
    kept: verdicts('kept'),
    collection: collected && {
      state: textIn(collected, 'state') ?? '?',
      freedBytes: numberIn(collected, 'freed_bytes'),
    },
    raw,
  };
}

/** An entry of a log: a line, or `end` behind the last one that there will be; undefined for what says neither. */
export function parseLogEntry(value: unknown): WireLogLine | 'end' | undefined {
  const raw = record(value, 'a line of a log');
  const event = textIn(raw, 'event');
  if (event !== undefined) return event === 'end' ? 'end' : undefined;
  const offset = numberIn(raw, 'offset');
  if (offset === undefined) throw strangeAnswer('a line of a log has no "offset"');
  return { offset, line: textIn(raw, 'line') ?? '', raw };
}
