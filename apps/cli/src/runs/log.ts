import { StringDecoder } from 'node:string_decoder';
import { bodyChunks, BrokenAnswer } from '../api/client.ts';
import type { Api, LogPart } from '../api/routes.ts';
import { CliError } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';
import { createPauses, type Deadline } from './wait.ts';

export interface LogDeps {
  readonly api: Pick<Api, 'runLog'>;
  readonly signal: AbortSignal;
}

export interface LogQuery {
  readonly id: string;
  readonly timestamps: boolean;
}

export interface FollowOptions {
  readonly sleep: (ms: number) => Promise<void>;
  readonly deadline: Deadline;
}

/**
 * The bytes of a run's log as they come: what is there, or with `follow` until the run has ended.
 * @throws CliError `timed_out` once the deadline of `follow` has passed
 */
export async function* logBytes(
  deps: LogDeps,
  query: LogQuery,
  follow?: FollowOptions,
): AsyncGenerator<Uint8Array> {
  let offset = 0;
  let pause = follow && createPauses(follow.deadline, follow.sleep);
  for (;;) {
    const part = await deps.api.runLog(query.id, offset, query.timestamps);
    yield* partBytes(deps, query, offset, part);
    const hasGrown = part.nextOffset > offset;
    offset = Math.max(offset, part.nextOffset);
    if (part.isComplete) return;
    if (hasGrown) {
      pause = follow && createPauses(follow.deadline, follow.sleep);
      continue;
    }
    if (pause === undefined) return;
    if (!(await pause())) {
      throw new CliError(exitCodes.timedOut, `The run ${query.id} still goes on.`, { code: 'timed_out' });
    }
  }
}

/** One part; what a broken connection has cut off is asked for again, so that nothing is missing or there twice. */
async function* partBytes(
  deps: LogDeps,
  query: LogQuery,
  offset: number,
  first: LogPart,
): AsyncGenerator<Uint8Array> {
  let part = first;
  let sent = 0;
  for (let tries = 1; ; tries += 1) {
    let skip = sent;
    try {
      for await (const chunk of bodyChunks(part.reply.body, deps.signal)) {
        const rest = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - rest.length;
        sent += rest.length;
        if (rest.length > 0) yield rest;
      }
      return;
    } catch (error) {
      if (!(error instanceof BrokenAnswer) || tries >= 3) throw error;
      part = await deps.api.runLog(query.id, offset, query.timestamps);
    }
  }
}

/** Whole lines, without their ends; a last one without an end too. A line is cut at `maxLine` characters. */
export async function* linesOf(
  bytes: AsyncIterable<Uint8Array>,
  maxLine = 1024 * 1024,
): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of bytes) {
    rest += decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    const lines = rest.split('\n');
    rest = (lines.pop() ?? '').slice(0, maxLine);
    for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
  }
  rest += decoder.end();
  if (rest !== '') yield rest;
}

/** The last lines of a run's log, each cut at 500 characters. */
export async function lastLogLines(deps: LogDeps, id: string, count: number): Promise<readonly string[]> {
  const lines: string[] = [];
  for await (const line of linesOf(logBytes(deps, { id, timestamps: false }))) {
    lines.push(line.slice(0, 500));
    if (lines.length > count) lines.shift();
  }
  return lines;
}
