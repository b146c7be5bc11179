import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import type { KubeConnection, KubeResource } from './kube-connection.ts';
import { kubeFailure, statusFailure, waitBefore } from './kube-errors.ts';

export interface KubeInformerOptions<T> {
  readonly connection: Pick<KubeConnection, 'list' | 'watch'>;
  readonly resource: KubeResource;
  /** Label selector. */
  readonly labels: string;
  /** What is kept of an object, undefined for nothing: memory grows by this, and not by what objects weigh. */
  readonly project: (object: unknown) => T | undefined;
  /** Of one object, by name: what was and what is kept of it. Must not throw. */
  readonly onChange: (name: string, before: T | undefined, after: T | undefined) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Milliseconds after which all is listed again even where nothing seems to be missing. @default 600000 */
  readonly relistMs?: number;
}

/** What the API server holds, a moment late. */
export interface KubeInformer<T> {
  /** @throws AppError `unavailable` when the first list has not come within the time */
  ready(timeoutMs: number): Promise<void>;
  readonly objects: ReadonlyMap<string, T>;
  /** Whether what it knows is being kept up to date now. */
  isCurrent(): boolean;
  stop(): Promise<void>;
}

interface State<T> {
  readonly options: KubeInformerOptions<T>;
  readonly objects: Map<string, T>;
  readonly stopping: AbortController;
  readonly listed: PromiseWithResolvers<void>;
  version: string | undefined;
  listedAt: number;
  current: boolean;
  failures: number;
}

/**
 * Follows objects of one kind: a list, then a watch from there on, taken up again where it ended; after any failure a list again, with growing pauses. What
 * vanished meanwhile is told like what is seen to vanish.
 */
export function createKubeInformer<T>(options: KubeInformerOptions<T>): KubeInformer<T> {
  const state: State<T> = {
    options,
    objects: new Map(),
    stopping: new AbortController(),
    listed: Promise.withResolvers(),
    version: undefined,
    listedAt: 0,
    current: false,
    failures: 0,
  };
  const done = follow(state);
  return {
    ready: (timeoutMs) => ready(state, timeoutMs),
    objects: state.objects,
    isCurrent: () => state.current,
    stop: async () => {
      state.stopping.abort();
      await done;
    },
  };
}

async function ready<T>({ options, listed, stopping }: State<T>, timeoutMs: number): Promise<void> {
  const timer = new AbortController();
  const expired = options.clock
    .sleep(timeoutMs, AbortSignal.any([timer.signal, stopping.signal]))
    .catch(() => undefined)
    .then(() => {
      throw new AppError('unavailable', `Kubernetes has not listed its ${options.resource} yet.`);
    });
  try {
    await Promise.race([listed.promise, expired]);
  } finally {
    timer.abort();
    expired.catch(() => undefined);
  }
}

async function follow<T>(state: State<T>): Promise<void> {
  const { options, stopping } = state;
  const { clock, log, relistMs = 600_000 } = options;
  let from: string | undefined;
  while (!stopping.signal.aborted) {
    try {
      if (from === undefined || clock.monotonic() - state.listedAt > relistMs) from = await listAll(state);
      from = await watchOnce(state, from);
    } catch (error) {
      if (stopping.signal.aborted) break;
      const failure = kubeFailure(error);
      from = undefined;
      // What was listed may be too old by now: then only an exact list helps.
      if (failure.code === 'precondition_failed' || state.failures > 0) state.version = undefined;
      state.current = false;
      state.failures += 1;
      log.warn({ err: failure, resource: options.resource }, 'watch of Kubernetes failed, listing again');
      const pause = waitBefore(Math.min(8, state.failures + 1), failure.retryAfterSeconds, options.random());
      await clock.sleep(pause, stopping.signal).catch(() => undefined);
    }
  }
  state.current = false;
}

/** Never goes back behind what was seen: of several API servers one may lag behind. */
async function listAll<T>(state: State<T>): Promise<string> {
  const { connection, resource, labels, project, clock } = state.options;
  const first = state.failures === 0 && state.version === undefined;
  const from = first ? '0' : state.version;
  const seen = new Set<string>();
  let next: string | undefined;
  let version: string;
  do {
    const page = await connection.list(resource, {
      labels,
      ...(from === undefined ? { limit: 500 } : { from }),
      ...(next === undefined ? {} : { next }),
    });
    for (const object of page.items) {
      const { name } = metadataOf(object);
      seen.add(name);
      keep(state, name, project(object));
    }
    ({ next, resourceVersion: version } = page);
  } while (next !== undefined);
  for (const name of state.objects.keys()) if (!seen.has(name)) keep(state, name, undefined);
  state.version = version;
  state.listedAt = clock.monotonic();
  state.current = true;
  state.listed.resolve();
  return version;
}

/** @returns the version to go on from, once the server has ended the watch */
async function watchOnce<T>(state: State<T>, from: string): Promise<string> {
  const { connection, resource, labels, project } = state.options;
  for await (const { type, object } of connection.watch(
    resource,
    { labels, from: state.version ?? from },
    state.stopping.signal,
  )) {
    if (type === 'ERROR') {
      const { code } = object as { code?: number };
      throw statusFailure(code ?? 500, JSON.stringify(object), undefined);
    }
    const { name, resourceVersion } = metadataOf(object);
    state.version = resourceVersion;
    state.failures = 0;
    if (type === 'DELETED') keep(state, name, undefined);
    else if (type !== 'BOOKMARK') keep(state, name, project(object));
  }
  return state.version ?? from;
}

function keep<T>({ objects, options }: State<T>, name: string, after: T | undefined): void {
  const before = objects.get(name);
  if (after === undefined) objects.delete(name);
  else objects.set(name, after);
  if (before !== undefined || after !== undefined) options.onChange(name, before, after);
}

function metadataOf(object: unknown): { readonly name: string; readonly resourceVersion: string } {
  const { metadata } = object as { metadata?: { name?: string; resourceVersion?: string } };
  if (metadata?.resourceVersion === undefined) {
    throw new AppError('unavailable', 'Kubernetes sent an object without a version.');
  }
  return { name: metadata.name ?? '', resourceVersion: metadata.resourceVersion };
}
