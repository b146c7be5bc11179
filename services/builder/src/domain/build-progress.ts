import { TextDecoder } from 'node:util';
import type { BuildProgress } from '@sluice/shared/contracts';
import { cleanLine, cutText } from './log-text.ts';

/** What a step that failed leaves for a person. */
export interface FailedStep {
  /** `[2/3] RUN pip install …` */
  readonly name: string;
  readonly error: string;
  /** What it printed last. */
  readonly lines: readonly string[];
}

/** Reads the progress of a build out of what `buildctl --progress=rawjson` writes, line by line. */
export interface ProgressReader {
  /** @returns lines for the log of the build */
  take(line: string): readonly string[];
  /** At the end: what was printed last without a line's end. */
  rest(): readonly string[];
  progress(): BuildProgress;
  /** Steps of the Dockerfile, and those that came from a cache. */
  counts(): { readonly steps: number; readonly cached: number };
  failed(): FailedStep | undefined;
  /** The last `error: …` that is no step's but the program's own. */
  said(): string;
}

export interface ProgressLimits {
  /** Steps that are kept in mind; a Dockerfile of ours has a dozen. @default 2000 */
  readonly steps?: number;
  /** Lines of a step that are kept for the case that it fails. @default 20 */
  readonly lastLines?: number;
  /** UTF-16 units of a line. @default 8192 */
  readonly lineLength?: number;
}

interface Step {
  /** In the order in which they are shown; 0 until then. */
  number: number;
  readonly name: string;
  started: boolean;
  completed: boolean;
  cached: boolean;
  error: string;
  readonly last: string[];
  readonly streams: Map<number, Stream>;
}

interface Stream {
  readonly decoder: TextDecoder;
  text: string;
}

interface State {
  readonly limits: Required<ProgressLimits>;
  readonly steps: Map<string, Step>;
  shown: number;
  said: string | undefined;
}

const maxName = 300;
const maxError = 8192;
/** Housekeeping of BuildKit's, which says nothing to whoever waits for an image. */
const internalName = /^\[(?:internal|auth)\]/;
const cacheName = /^importing cache manifest from /;
const dockerfileStep = /^\[(?!internal\]|auth\])[^\]]*\d+\/\d+\] /;

export function createProgressReader(limits: ProgressLimits = {}): ProgressReader {
  const { steps = 2000, lastLines = 20, lineLength = 8192 } = limits;
  const state: State = {
    limits: { steps, lastLines, lineLength },
    steps: new Map(),
    shown: 0,
    said: undefined,
  };
  return {
    take: (line) => take(state, line),
    rest: () => [...state.steps.values()].flatMap((step) => flush(state, step)),
    progress: () => progressOf(state),
    counts: () => {
      const real = [...state.steps.values()].filter((step) => dockerfileStep.test(step.name));
      return { steps: real.length, cached: real.filter((step) => step.cached).length };
    },
    failed: () => failedStep(state),
    said: () => state.said ?? '',
  };
}

function take(state: State, line: string): readonly string[] {
  const status = readStatus(line);
  if (status === undefined) return takeText(state, line);
  const out: string[] = [];
  const vertexes = recordsOf(status['vertexes']);
  for (const vertex of vertexes) begin(state, vertex, out);
  for (const entry of recordsOf(status['logs'])) takeLog(state, entry, out);
  for (const warning of recordsOf(status['warnings'])) takeWarning(state, warning, out);
  for (const vertex of vertexes) end(state, vertex, out);
  return out;
}

/** Warnings of the program, parts of the Dockerfile around an error, and its last `error: …`, which may have several lines. */
function takeText(state: State, line: string): readonly string[] {
  const text = cutText(cleanLine(line), state.limits.lineLength);
  if (text.startsWith('error: ')) state.said = text.slice('error: '.length);
  else if (state.said !== undefined) state.said = cutText(`${state.said}\n${text}`.trimEnd(), maxError);
  return text === '' ? [] : [text];
}

function begin(state: State, vertex: Fields, out: string[]): void {
  const digest = textOf(vertex['digest']);
  let step = state.steps.get(digest);
  if (step === undefined) {
    if (digest === '' || state.steps.size >= state.limits.steps) return;
    const name = cutText(cleanLine(textOf(vertex['name']).replaceAll('\n', ' ')), maxName);
    step = {
      number: 0,
      name,
      started: false,
      completed: false,
      cached: false,
      error: '',
      last: [],
      streams: new Map(),
    };
    state.steps.set(digest, step);
  }
  const begins = !step.started && vertex['started'] !== undefined;
  step.started ||= begins;
  if (begins && isShown(step)) out.push(`${label(state, step)} ${step.name}`);
}

function end(state: State, vertex: Fields, out: string[]): void {
  const step = state.steps.get(textOf(vertex['digest']));
  if (step === undefined) return;
  const error = cutText(cleanLine(textOf(vertex['error']).replaceAll('\n', ' ')), maxError);
  const isNews = vertex['completed'] !== undefined && !step.completed;
  if (isNews) {
    out.push(...flush(state, step));
    step.completed = true;
    step.cached = vertex['cached'] === true;
    if (cacheName.test(step.name)) {
      // The first build of all has none: that is no failure, and must not look like one.
      out.push(`${label(state, step)} ${error === '' ? 'DONE' : 'none is there'}`);
      return;
    }
    if (error === '') step.last.length = 0;
    if (error === '' && isShown(step)) out.push(`${label(state, step)} ${step.cached ? 'CACHED' : 'DONE'}`);
  }
  if (error === '' || step.error !== '' || cacheName.test(step.name)) return;
  step.error = error;
  out.push(`${label(state, step)} ERROR: ${isShown(step) ? '' : `${step.name}: `}${error}`);
}

function takeLog(state: State, entry: Fields, out: string[]): void {
  const step = state.steps.get(textOf(entry['vertex']));
  if (step === undefined) return;
  const id = entry['stream'] === 2 ? 2 : 1;
  let stream = step.streams.get(id);
  if (stream === undefined) {
    stream = { decoder: new TextDecoder(), text: '' };
    step.streams.set(id, stream);
  }
  const data = Buffer.from(textOf(entry['data']), 'base64');
  const lines = `${stream.text}${stream.decoder.decode(data, { stream: true })}`.split('\n');
  stream.text = keepOpen(lines.pop() ?? '', state.limits.lineLength);
  for (const line of lines) out.push(...say(state, step, line));
}

/** The beginning of a line whose end has not come; of a progress bar that goes on for ever its last state. */
function keepOpen(text: string, lineLength: number): string {
  const bound = lineLength * 2;
  if (text.length <= bound) return text;
  const bar = text.lastIndexOf('\r', text.length - 2);
  return cutText(bar === -1 ? text : text.slice(bar + 1), bound);
}

function takeWarning(state: State, warning: Fields, out: string[]): void {
  const text = Buffer.from(textOf(warning['short']), 'base64').toString();
  const line = cutText(cleanLine(text.replaceAll('\n', ' ')), state.limits.lineLength);
  if (line !== '') out.push(`warning: ${line}`);
}

function label(state: State, step: Step): string {
  if (step.number === 0) step.number = state.shown += 1;
  return `#${step.number}`;
}

function say(state: State, step: Step, raw: string): readonly string[] {
  const line = cutText(cleanLine(raw), state.limits.lineLength);
  step.last.push(line);
  if (step.last.length > state.limits.lastLines) step.last.shift();
  return [`${label(state, step)} ${line}`];
}

function flush(state: State, step: Step): readonly string[] {
  const texts = [...step.streams.values()].map((stream) => `${stream.text}${stream.decoder.decode()}`);
  step.streams.clear();
  return texts.filter((text) => text !== '').flatMap((text) => say(state, step, text));
}

function progressOf(state: State): BuildProgress {
  const shown = [...state.steps.values()].filter((step) => isShown(step));
  const current = shown.findLast((step) => step.started && !step.completed);
  const done = shown.filter((step) => step.completed).length;
  return { done, total: shown.length, ...(current === undefined ? {} : { step: current.name }) };
}

function failedStep(state: State): FailedStep | undefined {
  const failed = [...state.steps.values()].filter((step) => step.error !== '');
  // Steps beside the one that failed are broken off.
  const step = failed.find(({ error }) => !/context canceled$/i.test(error)) ?? failed[0];
  return step === undefined ? undefined : { name: step.name, error: step.error, lines: [...step.last] };
}

function isShown(step: Step): boolean {
  return !internalName.test(step.name);
}

type Fields = Readonly<Record<string, unknown>>;

function readStatus(line: string): Fields | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const parsed: unknown = JSON.parse(line);
    return isFields(parsed) ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function recordsOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.filter((one) => isFields(one)) : [];
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
