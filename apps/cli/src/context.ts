import { setTimeout as delay } from 'node:timers/promises';
import { createApiClient } from './api/client.ts';
import { checkoutFolder, findConnection, profileConnection, type Connection } from './api/connection.ts';
import { createApi, type Api } from './api/routes.ts';
import { createTransport } from './api/transport.ts';
import { systemCode, usageError } from './cli-error.ts';
import { createColors, type Colors } from './format/colors.ts';
import { parseDuration } from './format/quantity.ts';
import type { Io } from './io.ts';
import { createJsonOutput, type JsonOutput } from './output.ts';
import { configFileOf, readConfig, type ProfileConfig } from './profiles/config.ts';
import { warn } from './say.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url?: string;
  readonly profile?: string;
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

/** What a command works with that needs no server. */
export interface LocalContext extends Runtime {
  readonly options: GlobalOptions;
  /** Undefined: for people. */
  readonly json: JsonOutput | undefined;
  /** For stdout. */
  readonly colors: Colors;
  /** For stderr. */
  readonly errColors: Colors;
  /** How long to wait for runs, in milliseconds; Infinity for `--timeout 0`. */
  readonly waitMs: number;
  /** How long the server may be silent. */
  readonly idleMs: number;
  /** Epoch milliseconds. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason. */
  sleep(ms: number): Promise<void>;
  /** What `close` has to end as well. */
  onClose(end: () => void): void;
  close(): void;
}

/** What a command works with. */
export interface Context extends LocalContext {
  readonly connection: Connection;
  readonly api: Api;
  readonly config: ProfileConfig;
}

const defaultIdleMs = 30_000;
const defaultWaitMs = 60 * 60 * 1000;

/** @throws CliError for an option that can't be used */
export function createLocalContext(runtime: Runtime, options: GlobalOptions): LocalContext {
  const { io, env, signal } = runtime;
  const limit = timeoutOf(options.timeout);
  const ends: (() => void)[] = [];
  return {
    ...runtime,
    options,
    json: options.json === true ? createJsonOutput(io.out) : undefined,
    colors: createColors(wantsColor(options, env, io.outIsTty)),
    errColors: createColors(wantsColor(options, env, io.errIsTty)),
    waitMs: limit ?? defaultWaitMs,
    idleMs: Math.min(limit ?? defaultIdleMs, longestTimer),
    now: () => Date.now(),
    sleep: async (ms) => {
      await delay(Math.min(ms, longestTimer), undefined, { signal }).catch((error: unknown) => {
        signal.throwIfAborted();
        throw error;
      });
    },
    onClose: (end) => void ends.push(end),
    close: () => {
      for (const end of ends.splice(0)) end();
    },
  };
}

/** Finds the server to speak to. Nothing is sent yet. @throws CliError for an option, variable or file that can't be used */
export async function connect(local: LocalContext): Promise<Context> {
  const { env, cwd, options } = local;
  const config = await readConfig(configFileOf(env));
  if (config.isExposed) {
    await warn(
      local,
      `others may read ${config.file ?? ''}, which holds passwords; mend it with: chmod 600 ${config.file ?? ''}`,
    );
  }
  const { url, profile } = options;
  return connectTo(
    local,
    findConnection({ url, profile, config, env, cwd, checkout: checkoutFolder(), isAlive }),
    config,
  );
}

export function connectTo(local: LocalContext, connection: Connection, config: ProfileConfig): Context {
  const { signal, sleep, now } = local;
  const { url: base, ca } = connection;
  const transport = createTransport({ base, ca, idleMs: local.idleMs, signal });
  local.onClose(transport.close);
  const client = createApiClient({ connection, transport, signal, sleep, now, random: Math.random });
  return { ...local, connection, api: createApi(client), config };
}

/** The same command's dealings with the server of another profile. @throws CliError for a profile that is not known */
export function connectToProfile(context: Context, name: string): Context {
  return connectTo(context, profileConnection(context.config, name, context.env), context.config);
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

/** Whether a process of this machine lives. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Alive, but another user's.
    return systemCode(error) === 'EPERM';
  }
}
