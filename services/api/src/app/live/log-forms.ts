import { splitTime, withoutTimes } from '../../domain/log-lines.ts';
import { encodeServerEvent } from '../../domain/server-event.ts';
import type { LogForm } from './follow-log.ts';
import { endId, heartbeat } from './follow-runs.ts';

const retryMs = 2000;

/** Lines as server-sent events, their ids the bytes at which the next ones begin. @param endData data of the `end` event */
export function eventForm<T>(timestamps: boolean, endData: (subject: T) => string): LogForm<T> {
  return {
    opening: (offset) => encodeServerEvent({ retry: retryMs, id: String(offset) }),
    line: (stored, { next, beginsLine }) =>
      encodeServerEvent({
        id: String(next),
        data: textOf(timestamps ? stored : withoutTimes(stored, beginsLine)),
      }),
    heartbeat: () => heartbeat(),
    end: (subject) => encodeServerEvent({ event: 'end', id: endId, data: endData(subject) }),
  };
}

/** Lines as objects, one a line: those of the log have `line`, others have `event`. */
export function ndjsonForm<T>(follow: boolean, endData: (subject: T) => object): LogForm<T> {
  const object = (value: object): string => `${JSON.stringify(value)}\n`;
  const alive = object({ event: 'alive' });
  return {
    // The head of an answer goes out with its first byte.
    opening: () => (follow ? alive : ''),
    line: (stored, { next, beginsLine }) => {
      const { time, text } = splitTime(stored, beginsLine);
      return object({ offset: next, ...(time === undefined ? {} : { time }), line: textOf(text) });
    },
    heartbeat: () => alive,
    end: (subject) => object({ event: 'end', ...endData(subject) }),
  };
}

function textOf(line: Uint8Array): string {
  return Buffer.from(line)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}
