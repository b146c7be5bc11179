import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { RegistryLogin } from '@sluice/shared/adapters';
import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import type { ImageReference } from '../domain/image-reference.ts';
import type { EngineAddress } from './engine-address.ts';

/** Milliseconds. The engine is on this machine, but its disk may be busy with a pull. */
const limits = { callMs: 120_000, pullMs: 1_800_000, pingMs: 10_000 };

export type ContainerSpec = Docker.ContainerCreateOptions;

/** What the engine is, as far as containers are made differently for it. */
export interface EngineFacts {
  readonly cores: number;
  /** The engine runs as this user: its containers' root is this user. */
  readonly rootless: boolean;
  /** The engine maps users of containers to others of the machine. */
  readonly userNamespaces: boolean;
  readonly selinux: boolean;
}

export interface EngineImage {
  readonly id: string;
  /** Names of the variables that the image sets. */
  readonly variables: readonly string[];
}

export interface ContainerExit {
  readonly running: boolean;
  readonly oomKilled: boolean;
}

export interface ExecSpec {
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
}

/**
 * The part of the Docker Engine API that runs scripts. Every call is bounded but `wait`; failures are AppErrors: `not_found`, `conflict`, `invalid_input` (the
 * engine refuses), `unavailable` (it is not there, or in trouble).
 */
export interface ContainerEngine {
  readonly address: string;
  facts(): Promise<EngineFacts>;
  image(reference: ImageReference | string): Promise<EngineImage | undefined>;
  /** @throws AppError `not_found` also where the registry lets nobody see the image */
  pull(reference: ImageReference, login: RegistryLogin | undefined): Promise<void>;
  create(spec: ContainerSpec): Promise<string>;
  /** Whether a path exists in a container, started or not. */
  hasPath(id: string, path: string): Promise<boolean>;
  /** What a container prints, in the engine's frames; before `start`, so that nothing is missed. */
  attach(id: string): Promise<Readable>;
  start(id: string): Promise<void>;
  /** Resolves with the exit code when a started container does not run any more. */
  wait(id: string): Promise<number>;
  /** Undefined for one that is gone or just going. */
  inspect(id: string): Promise<ContainerExit | undefined>;
  /** Whether anybody had the engine send it a signal since then (epoch milliseconds): by hand, or the engine itself while it stops. */
  wasSignalled(id: string, since: number, until: number): Promise<boolean>;
  /** SIGTERM, and SIGKILL when it has not ended in time. */
  stop(id: string, graceMs: number): Promise<void>;
  kill(id: string): Promise<void>;
  /** Ends and removes it with its volumes. Absent is fine. */
  remove(id: string): Promise<void>;
  /** Containers with this label, running or not. */
  list(label: string): Promise<readonly string[]>;
  /** Starts a program in a running container. */
  exec(id: string, spec: ExecSpec): Promise<{ readonly execId: string; readonly output: Readable }>;
  execExit(execId: string): Promise<{ readonly running: boolean; readonly exitCode: number }>;
  /** Processes of a running container. */
  processes(id: string): Promise<number>;
}

/** The package is loaded only where it is used: with that of S3 it made 22 of the 129 MB of an idle server. */
export async function createContainerEngine(address: EngineAddress): Promise<ContainerEngine> {
  const { default: Docker } = await import('dockerode');
  const docker = new Docker(clientOptions(address));
  const call = async <T>(what: string, action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      throw engineError(address, what, error);
    }
  };
  return {
    address: address.text,
    ...imageCalls(docker, call),
    ...containerCalls(docker, call),
    ...execCalls(docker, call),
    ...watchCalls(docker, call),
    facts: async () =>
      call('tell about itself', async () => {
        const abortSignal = AbortSignal.timeout(limits.pingMs);
        // The types of `info` are older than what it takes.
        const ask = docker.info.bind(docker) as (options: {
          abortSignal: AbortSignal;
        }) => Promise<InfoAnswer>;
        const info = await ask({ abortSignal });
        const options = new Set((info.SecurityOptions ?? []).map((one) => one.split(',')[0]));
        return {
          cores: info.NCPU ?? 1,
          rootless: options.has('name=rootless'),
          userNamespaces: options.has('name=userns'),
          selinux: options.has('name=selinux'),
        };
      }),
  };
}

/** All of it is given, since the client fills what is absent from variables of this process. */
function clientOptions(address: EngineAddress): Docker.DockerOptions {
  const none = { ca: undefined, cert: undefined, key: undefined, timeout: undefined, pathPrefix: '/' };
  const { host, port, socketPath } = { host: undefined, port: undefined, socketPath: undefined, ...address };
  return { ...none, protocol: 'http', host, port, socketPath };
}

interface InfoAnswer {
  readonly NCPU?: number;
  readonly SecurityOptions?: readonly string[] | null;
}

type Call = <T>(what: string, action: () => Promise<T>) => Promise<T>;
interface Bound {
  readonly abortSignal: AbortSignal;
}
const bounded = (): Bound => ({ abortSignal: AbortSignal.timeout(limits.callMs) });

function imageCalls(docker: Docker, call: Call): Pick<ContainerEngine, 'image' | 'pull'> {
  return {
    image: async (reference) =>
      absent(
        call('look up an image', async () => {
          const name = typeof reference === 'string' ? reference : reference.text;
          const options: Docker.ImageInspectOptions & Bound = bounded();
          const found = await docker.getImage(name).inspect(options);
          const variables = (found.Config?.Env ?? []).map((one) => one.split('=', 1)[0] ?? '');
          return { id: found.Id, variables };
        }),
      ),
    pull: async ({ name, version }, login) =>
      call('pull the image', async () => {
        const abortSignal = AbortSignal.timeout(limits.pullMs);
        const options = { fromImage: name, tag: version, abortSignal };
        await pullEnd((await docker.createImage(login, options)) as Readable);
      }),
  };
}

/** Reads a pull's progress to its end: past the first line a failure is told there. */
async function pullEnd(progress: Readable): Promise<void> {
  let rest = '';
  let failure: string | undefined;
  const read = (line: string): void => {
    if (line.trim() === '') return;
    const parsed = JSON.parse(line) as { error?: string; errorDetail?: { message?: string } };
    failure ??= parsed.errorDetail?.message ?? parsed.error;
  };
  progress.setEncoding('utf8');
  for await (const chunk of progress as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(read);
  }
  read(rest);
  if (failure === undefined) return;
  // The engine gives no code here; its sentence is what there is.
  throw new AppError(isAboutAbsence(failure) ? 'not_found' : 'unavailable', failure);
}

/** What registries and engines say of images that are not there, or not for us; not `no such host`, which is a registry that is away. */
const absence =
  /manifest unknown|name unknown|(?:manifest|repository) .*not found|: not found$|does not exist|access denied|access to the resource is denied|unauthorized|authentication required|no basic auth credentials|no matching manifest/i;

function isAboutAbsence(message: string): boolean {
  return absence.test(message);
}

type ContainerCalls =
  'create' | 'hasPath' | 'attach' | 'start' | 'wait' | 'inspect' | 'stop' | 'kill' | 'remove';

function containerCalls(docker: Docker, call: Call): Pick<ContainerEngine, ContainerCalls> {
  const get = (id: string): Docker.Container => docker.getContainer(id);
  return {
    create: async (spec) =>
      call('make a container', async () => (await docker.createContainer({ ...spec, ...bounded() })).id),
    hasPath: async (id, path) => {
      const found = await absent(
        call('look into a container', async () => {
          ((await get(id).infoArchive({ path, ...bounded() })) as Readable).resume();
          return true;
        }),
      );
      return found ?? false;
    },
    attach: async (id) =>
      call('attach to a container', async () => {
        const options = { stream: true, stdout: true, stderr: true, hijack: true, ...bounded() };
        return (await get(id).attach(options)) as unknown as Readable;
      }),
    start: async (id) => void (await call('start a container', async () => get(id).start(bounded()))),
    wait: async (id) =>
      call('wait for a container', async () => {
        const answer = await dial(docker, `/containers/${id}/wait?`, { condition: 'not-running' });
        let text = '';
        for await (const chunk of answer.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
        return (JSON.parse(text) as { StatusCode: number }).StatusCode;
      }),
    inspect: async (id) =>
      absent(
        call('look at a container', async () => {
          const { State } = await get(id).inspect(bounded());
          if (State.Dead || State.Status === 'removing')
            throw new AppError('not_found', 'It is being removed.');
          return { running: State.Running, oomKilled: State.OOMKilled };
        }),
      ),
    stop: async (id, graceMs) => {
      const t = Math.ceil(graceMs / 1000);
      await call('stop a container', async () => get(id).stop({ t, ...bounded() })).catch(isGone);
    },
    kill: async (id) => {
      await call('kill a container', async () => get(id).kill({ signal: 'SIGKILL', ...bounded() })).catch(
        isGone,
      );
    },
    remove: async (id) => {
      const options = { force: true, v: true, ...bounded() };
      // A conflict: it is being removed already.
      await call('remove a container', async () => get(id).remove(options)).catch(isGone);
    },
  };
}

interface Dialler {
  dial(options: object, done: (error: unknown, answer: Readable) => void): void;
}

/**
 * A call whose answer comes as a stream. The client's own calls never settle when the connection breaks after the headers, and the headers of `wait` come at
 * once: reading the stream tells.
 */
async function dial(docker: Docker, path: string, options: object): Promise<Readable> {
  const { promise, resolve, reject } = Promise.withResolvers<Readable>();
  const statusCodes = { 200: true, 404: 'no such container', 500: 'server error' };
  const modem = docker.modem as Dialler;
  modem.dial({ path, method: 'POST', options, isStream: true, statusCodes }, (error, answer) => {
    if (error) reject(error);
    else resolve(answer);
  });
  return promise;
}

function watchCalls(docker: Docker, call: Call): Pick<ContainerEngine, 'wasSignalled' | 'list'> {
  return {
    wasSignalled: async (id, since, until) =>
      call('tell what happened to a container', async () => {
        const filters = { container: [id], event: ['kill'] };
        const times = { since: since / 1000, until: until / 1000 };
        const events: NodeJS.ReadableStream = await docker.getEvents({ filters, ...times, ...bounded() });
        let bytes = 0;
        for await (const chunk of events) bytes += chunk.length;
        return bytes > 0;
      }),
    list: async (label) =>
      call('list containers', async () => {
        const found = await docker.listContainers({ all: true, filters: { label: [label] }, ...bounded() });
        return found.map((one) => one.Id);
      }),
  };
}

function execCalls(docker: Docker, call: Call): Pick<ContainerEngine, 'exec' | 'execExit' | 'processes'> {
  return {
    exec: async (id, { command, env, cwd }) =>
      call('start a script in a container', async () => {
        const exec = await docker.getContainer(id).exec({
          Cmd: [...command],
          Env: [...env],
          WorkingDir: cwd,
          AttachStdout: true,
          AttachStderr: true,
          Tty: false,
          ...bounded(),
        });
        const output = await exec.start({ hijack: true, Detach: false, Tty: false, ...bounded() });
        return { execId: exec.id, output: output as unknown as Readable };
      }),
    execExit: async (execId) =>
      call('look at a script in a container', async () => {
        const { Running, ExitCode } = await docker.getExec(execId).inspect(bounded());
        return { running: Running, exitCode: ExitCode ?? 0 };
      }),
    processes: async (id) =>
      call('list the processes of a container', async () => {
        const top = (await docker.getContainer(id).top(bounded())) as {
          Processes?: readonly unknown[] | null;
        };
        return top.Processes?.length ?? 0;
      }),
  };
}

/** Whether a call got no answer, so that it may have been done. */
export function isUnanswered(error: unknown): boolean {
  return isAppError(error) && error.details['unanswered'] === true;
}

async function absent<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (isAppError(error, 'not_found')) return undefined;
    throw error;
  }
}

/** Already stopped, already gone or just going: all that was wanted. */
function isGone(error: unknown): void {
  if (!isAppError(error, 'not_found') && !isAppError(error, 'conflict')) throw error;
}

function engineError(address: EngineAddress, what: string, error: unknown): unknown {
  if (isAppError(error)) return error;
  const { statusCode, json } = error as { statusCode?: number; json?: { message?: string } | null };
  const options = { cause: error };
  if (statusCode === undefined) {
    const message = `The container engine at ${address.text} did not ${what}: ${messageOf(error)}`;
    return new AppError('unavailable', message, { ...options, details: { unanswered: true } });
  }
  const said = json?.message ?? messageOf(error);
  const message = `The container engine could not ${what}: ${said}`;
  if (statusCode === 304 || statusCode === 409) return new AppError('conflict', message, options);
  if (statusCode === 404) return new AppError('not_found', message, options);
  if (statusCode === 400) return new AppError('invalid_input', message, options);
  return new AppError(isPull(what) && isAboutAbsence(said) ? 'not_found' : 'unavailable', message, options);
}

/** A registry that refuses is told with status 500. */
function isPull(what: string): boolean {
  return what.startsWith('pull');
}
