import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Secret } from '@sluice/shared/config';
import { fromSystemError, type AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import { buildArguments, daemonArguments, type DaemonAddress } from '../domain/build-arguments.ts';
import { buildError, buildFailure } from '../domain/build-failure.ts';
import { createProgressReader, type ProgressReader } from '../domain/build-progress.ts';
import { cleanLine, createMask, cutText, secretForms } from '../domain/log-text.ts';
import type { BuildPlan, Built, ImageBuilder } from '../ports.ts';
import { createBuildFolders, writeBuildFiles, type BuildFolders } from './build-folders.ts';
import { runProgram, type ProgramEnd, type ProgramRequest } from './child-program.ts';

export interface BuildctlOptions {
  /** Address of buildkitd: `tcp://buildkitd:1234`, `unix:///run/buildkit/buildkitd.sock`. */
  readonly host: string;
  /** PEM. */
  readonly tls?:
    | {
        readonly ca?: string | undefined;
        readonly cert?: string | undefined;
        readonly key?: Secret | undefined;
        /** Name in the daemon's certificate, where it is not the host's. */
        readonly serverName?: string | undefined;
      }
    | undefined;
  /** @default 'buildctl' */
  readonly program?: string;
  /** What else it finds in its environment, such as a proxy for the token services of registries, and where programs are looked for. */
  readonly env?: Readonly<Record<string, string>>;
  /** Folder for the files of builds that are under way; not shared with other machines or containers. */
  readonly tmpRoot: string;
  /** Registries (`host`, `host:port`) that are spoken to without TLS; buildkitd's configuration has to say it too. */
  readonly insecureRegistries: readonly string[];
  readonly limits?: Partial<BuildctlLimits>;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface BuildctlLimits {
  /** Milliseconds between SIGTERM and SIGKILL. @default 10000 */
  readonly graceMs: number;
  /** UTF-16 units of a line of the log. @default 8192 */
  readonly lineLength: number;
  /** UTF-16 units of one build's log. @default 5242880 */
  readonly logLength: number;
  /** Milliseconds that a check may take. @default 10000 */
  readonly checkMs: number;
}

export interface Buildctl extends ImageBuilder {
  /** Before the first build: removes what processes left that are dead. @returns how many folders */
  sweep(): Promise<number>;
}

const defaults: BuildctlLimits = {
  graceMs: 10_000,
  lineLength: 8192,
  logLength: 5 * 1024 * 1024,
  checkMs: 10_000,
};
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** UTF-16 units of a line of progress: some carry a whole burst of output. */
const maxStatus = 16 * 1024 * 1024;
const maxMetadata = 1024 * 1024;
const digestForm = /^sha256:[0-9a-f]{64}$/;

interface Client {
  readonly options: BuildctlOptions;
  readonly limits: BuildctlLimits;
  readonly folders: BuildFolders;
}

/** Has BuildKit's daemon make images, through its command line program: it brings the context, the logins and the way to registries with it. */
export function createBuildctl(options: BuildctlOptions): Buildctl {
  const client: Client = {
    options,
    limits: { ...defaults, ...options.limits },
    folders: createBuildFolders(options.tmpRoot, options.log),
  };
  return {
    build: async (plan, context) =>
      client.folders.use(async (folder) => build(client, folder, plan, context)),
    check: async () => {
      await client.folders.use(async (folder) => ask(client, folder, ['debug', 'workers']));
    },
    version: async () =>
      client.folders.use(async (folder) => {
        const lines = await ask(client, folder, ['debug', 'info']);
        return lines.map((line) => versionLine.exec(line)?.[1]).find((found) => found !== undefined);
      }),
    sweep: client.folders.sweep,
  };
}

type Context = Parameters<ImageBuilder['build']>[1];

async function build(client: Client, folder: string, plan: BuildPlan, context: Context): Promise<Built> {
  const { options, limits } = client;
  const files = await writeBuildFiles(folder, plan);
  const args = buildArguments(plan, files, options.insecureRegistries);
  const mask = createMask(Object.values(plan.logins).flatMap(secretForms), limits.lineLength);
  const reader = createProgressReader({ lineLength: limits.lineLength });
  const output = createOutput(reader, mask, limits.logLength, context);
  const end = await run(client, folder, {
    args,
    env: { DOCKER_CONFIG: files.docker },
    timeoutMs: plan.timeoutMs,
    signal: context.signal,
    onLine: output.take,
    onEnd: output.rest,
  });
  if (end.kind === 'cancelled') throw buildError('cancelled', 'cancelled', 'The build was cancelled.');
  if (end.kind === 'timed_out') {
    const seconds = Math.round(plan.timeoutMs / 1000);
    throw buildError('timed_out', 'timed_out', `The build took longer than ${seconds} s and was ended.`);
  }
  if (end.kind === 'signalled') {
    const why = `its program was ended by ${end.signal}`;
    throw buildError('unavailable', 'builder_unavailable', `The builder went away: ${why}.`);
  }
  if (end.code !== 0) throw failureOf(reader, mask);
  return { digest: await readDigest(files.metadata), ...reader.counts() };
}

/** The log and the progress of one build, fit to be shown. */
function createOutput(
  reader: ProgressReader,
  mask: (text: string) => string,
  logLength: number,
  { onLog, onProgress }: Context,
): { take(line: string): Promise<void>; rest(): Promise<void> } {
  let written = 0;
  let told = '';
  const write = async (lines: readonly string[]): Promise<void> => {
    for (const line of lines) {
      if (written > logLength) return;
      const shown = mask(line);
      written += shown.length + 1;
      await onLog(
        written > logLength ? `The log is cut here: it has more than ${logLength} characters.` : shown,
      );
    }
  };
  return {
    take: async (line) => {
      await write(reader.take(line));
      const { done, total, step } = reader.progress();
      const progress = { done, total, ...(step === undefined ? {} : { step: mask(step) }) };
      const now = JSON.stringify(progress);
      if (now !== told) onProgress(progress);
      told = now;
    },
    rest: async () => write(reader.rest()),
  };
}

function failureOf(reader: ProgressReader, mask: (text: string) => string): AppError {
  const step = reader.failed();
  return buildFailure({
    said: mask(reader.said()),
    step:
      step === undefined
        ? undefined
        : { name: mask(step.name), error: mask(step.error), lines: step.lines.map((line) => mask(line)) },
  });
}

async function readDigest(path: string): Promise<string> {
  let digest: unknown;
  try {
    if ((await stat(path)).size <= maxMetadata) {
      const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
      if (typeof parsed === 'object' && parsed !== null && 'containerimage.digest' in parsed) {
        digest = parsed['containerimage.digest'];
      }
    }
  } catch (error) {
    throw buildError('unavailable', 'builder_unavailable', 'BuildKit does not say what it has made.', error);
  }
  if (typeof digest === 'string' && digestForm.test(digest)) return digest;
  throw buildError('unavailable', 'builder_unavailable', 'BuildKit does not say what it has made.');
}

/** `BuildKit: github.com/moby/buildkit v0.25.1 …` */
const versionLine = /^BuildKit:\s+\S+\s+(v[\w.+-]{1,60})/;
const maxAnswer = 100;

/** What a command of the daemon says; its last line tells what is wrong. */
async function ask(client: Client, folder: string, args: readonly string[]): Promise<readonly string[]> {
  const { host } = client.options;
  const lines: string[] = [];
  let said = '';
  const end = await run(client, folder, {
    args,
    env: {},
    timeoutMs: client.limits.checkMs,
    signal: new AbortController().signal,
    onLine: (line) => {
      const text = cutText(cleanLine(line), 500);
      said = text.replace(/^error: /, '');
      if (lines.length < maxAnswer) lines.push(text);
      return Promise.resolve();
    },
  });
  if (end.kind === 'exited' && end.code === 0) return lines;
  const why = end.kind === 'timed_out' ? 'it does not answer in time' : said;
  throw buildError(
    'unavailable',
    'builder_unavailable',
    `BuildKit does not answer at ${host}: ${why}. Start buildkitd, or mend BUILDKIT_HOST and what goes with it (BUILDKIT_CA, BUILDKIT_CERT, BUILDKIT_KEY).`,
  );
}

async function run(
  client: Client,
  folder: string,
  request: Pick<ProgramRequest, 'args' | 'env' | 'timeoutMs' | 'signal' | 'onLine' | 'onEnd'>,
): Promise<ProgramEnd> {
  const { options, limits } = client;
  const { program = 'buildctl' } = options;
  const daemon = await writeTls(folder, options);
  return runProgram(options.clock, {
    ...request,
    program,
    args: [...daemonArguments(daemon), ...request.args],
    env: { PATH: defaultPath, HOME: folder, ...options.env, ...request.env },
    cwd: folder,
    graceMs: limits.graceMs,
    maxLine: maxStatus,
  });
}

/** The program takes certificates from files only. */
async function writeTls(folder: string, { host, tls }: BuildctlOptions): Promise<DaemonAddress> {
  if (tls === undefined) return { host };
  const place = async (name: string, text: string | undefined): Promise<string | undefined> => {
    if (text === undefined) return undefined;
    const path = join(folder, name);
    try {
      await writeFile(path, text, { mode: 0o600 });
    } catch (error) {
      throw fromSystemError(error, 'write the certificates for BuildKit');
    }
    return path;
  };
  return {
    host,
    ca: await place('ca.pem', tls.ca),
    cert: await place('cert.pem', tls.cert),
    key: await place('key.pem', tls.key?.reveal()),
    serverName: tls.serverName,
  };
}
