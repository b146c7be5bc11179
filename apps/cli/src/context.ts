import { setTimeout as delay } from 'node:timers/promises';
import { createApiClient } from './api/client.ts';
import { checkoutFolder, findConnection, type Connection } from './api/connection.ts';
import { createApi, type Api } from './api/routes.ts';
import { createTransport } from './api/transport.ts';
import { systemCode, usageError } from './cli-error.ts';
import { createColors, type Colors } from './format/colors.ts';
import { parseDuration } from './format/quantity.ts';
import type { Io } from './io.ts';
import { createJsonOutput, type JsonOutput } from './output.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url?: string;
  readonly timeout?: string;
  readonly json?: boolean;
  readonly color?: boolean;
}

/** What the process gives to a command. */
export interface Runtime {
  readonly io: Io;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/** What a command works with. */
export interface Context {
  readonly io: Io;
  readonly cwd: string;
  readonly signal: AbortSignal;
  /** Undefined: for people. */
  readonly json: JsonOutput | undefined;
  /** For stdout. */
  readonly colors: Colors;
  /** For stderr. */
  readonly errColors: Colors;
  readonly connection: Connection;
  readonly api: Api;
  /** How long to wait for runs, in milliseconds; Infinity for `--timeout 0`. */
  readonly waitMs: number;
  /** Epoch milliseconds. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason. */
  sleep(ms: number): Promise<void>;
  close(): void;
}

const defaultIdleMs = 30_000;
const defaultWaitMs = 60 * 60 * 1000;

/** @throws CliError for an option or variable that can't be used */
export function createContext(runtime: Runtime, options: GlobalOptions): Context {
  const { io, env, cwd, signal } = runtime;
  const limit = timeoutOf(options.timeout);
  const connection = findConnection({ url: options.url, env, cwd, checkout: checkoutFolder(), isAlive });
  const transport = createTransport(connection.url, Math.min(limit ?? defaultIdleMs, longestTimer), signal);
  const sleep = async (ms: number): Promise<void> => {
    await delay(ms, undefined, { signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
  };
  const now = (): number => Date.now();
  const client = createApiClient({ connection, transport, signal, sleep, now, random: Math.random });
  return {
    io,
    cwd,
    signal,
    json: options.json === true ? createJsonOutput(io.out) : undefined,
    colors: createColors(wantsColor(options, env, io.outIsTty)),
    errColors: createColors(wantsColor(options, env, io.errIsTty)),
    connection,
    api: createApi(client),
    waitMs: limit ?? defaultWaitMs,
    now,
    sleep,
    close: transport.close,
  };
}

/** Timers hold 31 bits. */
const longestTimer = 2 ** 31 - 1;

function timeoutOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms === undefined)
    throw usageError(
      `"${text}" is not a length of time`,
      'Give seconds, or 500ms, 90s, 5m, 2h; 0 is no limit.',
    );
  return ms === 0 ? Number.POSITIVE_INFINITY : ms;
}

/** https://no-color.org: any value but the empty one. */
function wantsColor(options: GlobalOptions, env: Runtime['env'], isTty: boolean): boolean {
  const noColor = env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== '';
  return isTty && options.color !== false && !noColor && env['TERM'] !== 'dumb';
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Alive, but another user's.
    return systemCode(error) === 'EPERM';
  }
}
