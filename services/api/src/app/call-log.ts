import { Type, type Static } from 'typebox';
import { goDuration, nanoTime } from '../domain/go-time.ts';

/** OSCAR §1.8. */
export const SystemLogs = Type.Object({
  logs: Type.Array(
    Type.Object({
      timestamp: Type.String(),
      status: Type.Integer(),
      latency: Type.String(),
      client_ip: Type.String(),
      method: Type.String(),
      path: Type.String(),
      user: Type.String(),
      raw: Type.String(),
    }),
  ),
});
export type SystemLogs = Static<typeof SystemLogs>;

/** A call of `/job` or `/run`, answered. */
export interface AnsweredCall {
  /** Epoch milliseconds of the answer's end. */
  readonly at: number;
  readonly status: number;
  readonly ms: number;
  readonly clientIp: string;
  readonly method: string;
  /** Without the query, which may have secrets. */
  readonly path: string;
  readonly user: string;
}

/** The last calls that this process answered. */
export interface CallLog {
  add(call: AnsweredCall): void;
  /** Oldest first. */
  list(options: { readonly timestamps: boolean }): SystemLogs;
}

/** Calls that are kept; each may have some 700 bytes. */
const keptCalls = 1000;
const maxPath = 512;

export function createCallLog(limit = keptCalls): CallLog {
  // A ring: `next` is where the oldest is overwritten.
  const ring: AnsweredCall[] = [];
  let next = 0;
  return {
    add: (call) => {
      ring[next] = call;
      next = (next + 1) % limit;
    },
    list: ({ timestamps }) => ({
      logs: [...ring.slice(next), ...ring.slice(0, next)].map((call) => entryOf(call, timestamps)),
    }),
  };
}

function entryOf(call: AnsweredCall, timestamps: boolean): SystemLogs['logs'][number] {
  const timestamp = nanoTime(call.at);
  const latency = goDuration(call.ms);
  // Its line has its fields between bars.
  const path = call.path.slice(0, maxPath).replaceAll('|', '%7C');
  const { status, clientIp, method, user } = call;
  const line = `[GIN-EXECUTIONS-LOGGER] ${timestamp} | ${String(status).padStart(3)} | ${latency.padStart(13)} | ${clientIp} | ${method.padEnd(7)} ${path} | ${user}`;
  return {
    timestamp,
    status,
    latency,
    client_ip: clientIp,
    method,
    path,
    user,
    raw: timestamps ? `${timestamp} ${line}` : line,
  };
}
