import { parseLogEntry, type WireLogLine } from '../api/build-wire.ts';
import { bodyChunks, BrokenAnswer } from '../api/client.ts';
import { strangeAnswer } from '../api/wire.ts';
import type { Context } from '../context.ts';
import { linesOf } from '../runs/log.ts';

type LogContext = Pick<Context, 'api' | 'signal'>;

/** No line of a build is longer; the JSON around it is. */
const maxJsonLine = 4 * 1024 * 1024;

/**
 * Lines of a build's log from an offset on, as far as there are any. What a broken connection has cut off is asked for again, so that nothing
 * is missing or there twice.
 */
export async function* buildLogLines(
  { api, signal }: LogContext,
  id: string,
  from = 0,
): AsyncGenerator<WireLogLine> {
  let next = from;
  for (let tries = 1; ;) {
    const before = next;
    try {
      const reply = await api.buildLog(id, next);
      for await (const text of linesOf(bodyChunks(reply.body, signal), maxJsonLine)) {
        const entry = text.trim() === '' ? undefined : parseLogEntry(parseJson(text));
        if (entry === 'end') return;
        if (entry === undefined || entry.offset <= next) continue;
        next = entry.offset;
        yield entry;
      }
    } catch (error) {
      if (!(error instanceof BrokenAnswer) || tries >= 3) throw error;
      tries += 1;
      continue;
    }
    // An answer may be a part of what there is.
    if (next === before) return;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw strangeAnswer('a line of a log is no JSON');
  }
}

/** The last lines of a build's log, each cut at 500 characters. */
export async function lastBuildLines(
  context: LogContext,
  id: string,
  count: number,
): Promise<readonly string[]> {
  const lines: string[] = [];
  for await (const { line } of buildLogLines(context, id)) {
    lines.push(line.slice(0, 500));
    if (lines.length > count) lines.shift();
  }
  return lines;
}
