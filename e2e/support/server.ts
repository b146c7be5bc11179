import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from './wait.ts';

export const root = fileURLToPath(new URL('../..', import.meta.url));
/** As `npm start` runs it. */
export const serverFlags = ['--max-semi-space-size=2'];
const serverBin = join(root, 'apps/standalone/bin/sluice-server.mjs');
export const cliBin = join(root, 'apps/cli/bin/sluice.mjs');

/** Variables of this machine that would change what a test sees. */
export function cleanEnv(extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(SLUICE|OSCAR|MINIO|NATS|REDIS|DOCKER|OTEL)_/.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`,
    NO_COLOR: '1',
    ...extra,
  };
}

/** What makes images is on where it is named; a test that wants it says so, whatever this machine has. */
export const noBuilder = { REGISTRY_HOST: '', BUILDKIT_HOST: '' } as const;

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What is running, in either form, seen from outside. */
export interface Installation {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** One request as the administrator. */
  request(path: string, init?: RequestInit): Promise<Response>;
  /** Runs the client against it. */
  sluice(...args: readonly string[]): Promise<Finished>;
}

/** The standalone form. */
export interface Server extends Installation {
  readonly data: string;
  readonly process: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Sends a signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<Finished>;
}

export async function tempFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'sluice-e2e-'));
}

export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3 });
}

/** Starts the server as `npm start` does and waits until it answers. */
export async function startServer(options: {
  data: string;
  env?: Readonly<Record<string, string>>;
}): Promise<Server> {
  const env = cleanEnv({
    ...noBuilder,
    SLUICE_DATA: options.data,
    OSCAR_SERVICE_PORT: '0',
    ...options.env,
  });
  const child = spawn(process.execPath, [...serverFlags, serverBin], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collect(child);
  const ended = once(child, 'exit');
  const info = await waitFor('the server to answer', async () => {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`the server ended early: ${output.stderr()}${output.stdout()}`);
    }
    const text = await readFile(join(options.data, 'server.json'), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const parsed = JSON.parse(text) as { url: string; username: string; pid: number };
    if (parsed.pid !== child.pid) return undefined;
    const answer = await fetch(`${parsed.url}/health`).catch(() => undefined);
    return answer?.ok === true ? parsed : undefined;
  });
  const password =
    options.env?.['OSCAR_PASSWORD'] ?? (await readFile(join(options.data, 'admin-password'), 'utf8')).trim();
  const basic = `Basic ${Buffer.from(`${info.username}:${password}`).toString('base64')}`;
  return {
    data: options.data,
    url: info.url,
    username: info.username,
    password,
    process: child,
    stdout: output.stdout,
    stderr: output.stderr,
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await ended;
      return {
        code: child.exitCode,
        signal: child.signalCode,
        stdout: output.stdout(),
        stderr: output.stderr(),
      };
    },
    request: (path, init = {}) => {
      const headers = new Headers(init.headers);
      if (!headers.has('authorization')) headers.set('authorization', basic);
      return fetch(`${info.url}${path}`, { ...init, headers, redirect: 'manual' });
    },
    sluice: (...args) => run(process.execPath, [cliBin, ...args], { env: { SLUICE_DATA: options.data } }),
  };
}

/** Starts the server where it is expected to refuse; resolves with how it ended. */
export function startRefused(env: Readonly<Record<string, string>>): Promise<Finished> {
  return run(process.execPath, [serverBin], { env: { OSCAR_SERVICE_PORT: '0', ...env } });
}

/** Runs a program to its end, from the checkout's root. */
export async function run(
  program: string,
  args: readonly string[],
  options: { env?: Readonly<Record<string, string>>; cwd?: string; input?: string } = {},
): Promise<Finished> {
  const child = spawn(program, args, {
    cwd: options.cwd ?? root,
    env: cleanEnv(options.env ?? {}),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const output = collect(child);
  // A program that ends without reading it is judged by its exit code.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  await once(child, 'close');
  return { code: child.exitCode, signal: child.signalCode, stdout: output.stdout(), stderr: output.stderr() };
}

export function collect(child: ChildProcess): { stdout(): string; stderr(): string } {
  const parts = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    parts.stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    parts.stderr += text;
  });
  return { stdout: () => parts.stdout, stderr: () => parts.stderr };
}
