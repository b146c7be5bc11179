import { isBuildKind, type BuildChanged, type BuildProgress } from '@sluice/shared/contracts';
import { isAppError, messageOf, type AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RunLogs } from '@sluice/shared/stores';
import type { Logger, Tracer } from '@sluice/shared/telemetry';
import { buildError } from '../domain/build-failure.ts';
import { dockerfileFor } from '../domain/dockerfile.ts';
import { recipes } from '../domain/recipes/index.ts';
import { imageLabels } from '../domain/image-labels.ts';
import type {
  BuildLimits,
  BuildOutcome,
  BuildPlan,
  BuildStore,
  EnvironmentOf,
  ImageBuilder,
  Registries,
  StoredBuild,
  UserRegistry,
  Verdict,
} from '../ports.ts';
import type { ImageUses } from '../clean-up-ports.ts';
import { failureWord, startBuildTrace, type BuildTrace } from './build-trace.ts';
import type { BuildMetrics } from './metrics.ts';

export interface PerformDeps {
  readonly store: BuildStore;
  readonly builder: ImageBuilder;
  readonly registries: Registries;
  readonly environmentOf: EnvironmentOf;
  readonly logs: RunLogs;
  readonly uses: Pick<ImageUses, 'note'>;
  readonly limits: BuildLimits;
  readonly timeoutMs: number;
  /** Whether layers are kept in the registry for later builds. */
  readonly layerCache: boolean;
  readonly say: (change: BuildChanged, traceparent: string | undefined) => Promise<void>;
  readonly metrics: BuildMetrics;
  readonly tracer: Tracer;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How often it is looked whether anybody still wants the build, and how often progress is told at most. */
const lookMs = 1000;

/**
 * Workers that a build may lose. They are lost to restarts and upgrades, of which a long build may see some; one that loses more ends them itself,
 * most often by the memory that it takes, and would go on for ever.
 */
const maxLost = 10;

/**
 * One try of one build: from taking it to the end of its tickets. Every step may have been done by a worker that died: an image that is there is not made again,
 * tags are set again, what has ended is left.
 */
export async function performBuild(
  deps: PerformDeps,
  id: string,
  attempt: { readonly number: number; readonly last: boolean },
  stop: AbortSignal,
): Promise<Verdict> {
  const { store, log } = deps;
  const build = await store.begin(id, deps.limits);
  if (build === 'unwanted') return { kind: 'done' };
  if (build === 'later') return { kind: 'later' };
  deps.metrics.begun(build, deps.clock.now());
  await tell(deps, build, { state: 'running' });
  const trace = startBuildTrace(deps.tracer, build, attempt.number, deps.clock.now());
  let output = noOutput;
  try {
    if (build.lost > maxLost) throw tooManyLost(build);
    output = await openLog(deps, build, attempt.number);
    const made = await make(deps, { build, output, trace, stop });
    await trace.part('tag', async () => finish(deps, build, made));
    trace.end('succeeded');
    log.info(
      {
        build: id,
        user: build.spec.user,
        digest: made.digest,
        cached: made.cached,
        trace_id: trace.traceId,
      },
      'build succeeded',
    );
    return { kind: 'done' };
  } catch (error) {
    // Stopping, or gone from this worker: another one begins again.
    if (stop.aborted) {
      trace.end('interrupted', 'interrupted');
      throw error;
    }
    return await settle(deps, { build, output, trace }, error, attempt);
  } finally {
    await output.close();
  }
}

/** A try under way. */
interface Trying {
  readonly build: StoredBuild;
  readonly output: BuildOutput;
  readonly trace: BuildTrace;
  readonly stop: AbortSignal;
}

interface Made {
  readonly digest: string;
  readonly size: number;
  /** Made by this try, steps and those from a cache. */
  readonly steps: number;
  readonly cached: number;
}

async function make(deps: PerformDeps, trying: Trying): Promise<Made> {
  const { build, trace } = trying;
  const { spec } = build;
  const caller = { login: spec.user, env: await deps.environmentOf(spec.user) };
  const home = homeOf(deps.registries, caller, spec.repository);
  const reference = `${spec.repository}:${spec.contentTag}`;
  // An earlier worker pushed it and died.
  const there = spec.force
    ? undefined
    : await trace.part('resolve', async () => home.images.digestOf(reference));
  const built =
    there === undefined
      ? await trace.part('buildkit', async (traceparent) => runBuild(deps, trying, caller, traceparent))
      : { digest: there, steps: 0, cached: 0 };
  const size = (await home.images.details(`${spec.repository}@${built.digest}`))?.size ?? 0;
  return { ...built, size };
}

/** The repository that was settled when the build was asked for; the account may name another one by now. */
function homeOf(
  registries: Registries,
  caller: Parameters<Registries['of']>[0],
  repository: string,
): UserRegistry {
  const home = registries.of(caller);
  return home.repository === repository ? home : registries.of({ ...caller, env: {} });
}

async function runBuild(
  deps: PerformDeps,
  { build, output, trace, stop }: Trying,
  caller: Parameters<Registries['of']>[0],
  traceparent: string,
): Promise<{ readonly digest: string; readonly steps: number; readonly cached: number }> {
  const plan = await planOf(deps, build, caller);
  const wanted = new AbortController();
  const over = new AbortController();
  const stages = trace.stages(traceparent);
  let progress: BuildProgress = { done: 0, total: 0 };
  const watch = async (): Promise<void> => {
    let told = '';
    for (;;) {
      try {
        await deps.clock.sleep(lookMs, over.signal);
      } catch {
        return;
      }
      // While the store is away nobody can say that it is not wanted.
      const isWanted = await deps.store.progress(build.id, progress).catch(() => true);
      if (!isWanted) {
        wanted.abort();
        return;
      }
      const now = JSON.stringify(progress);
      if (now !== told) await tell(deps, build, { state: 'running', progress }).catch(() => undefined);
      told = now;
    }
  };
  const watching = watch();
  try {
    return await deps.builder.build(plan, {
      signal: AbortSignal.any([stop, wanted.signal]),
      onProgress: (now) => {
        progress = now;
        stages.heed(now);
      },
      onLog: output.line,
    });
  } finally {
    stages.end();
    over.abort();
    await watching;
  }
}

async function planOf(
  deps: PerformDeps,
  { id, key, spec }: StoredBuild,
  caller: Parameters<Registries['of']>[0],
): Promise<BuildPlan> {
  if (!isBuildKind(spec.kind)) throw new Error(`a build of an unknown kind was stored: ${spec.kind}`);
  const recipe = recipes[spec.kind];
  const base = `${spec.source}@${spec.baseDigest}`;
  const { dockerfile, files } = dockerfileFor({
    user: spec.user,
    recipe,
    base,
    baseUser: spec.baseUser,
    file: spec.file,
    ...(spec.toolImage === '' ? {} : { toolImage: spec.toolImage }),
  });
  const [host = ''] = spec.repository.split('/');
  const [baseHost = ''] = spec.source.split('/');
  return {
    id,
    user: spec.user,
    kind: spec.kind,
    dockerfile,
    files,
    push: `${spec.repository}:${spec.contentTag}`,
    labels: imageLabels(spec, key),
    platforms: spec.platforms,
    sbom: spec.sbom,
    provenance: spec.provenance,
    cache: deps.layerCache ? `${spec.repository}/cache:${spec.kind}` : undefined,
    sharedCaches: deps.layerCache ? [`${host}/library/cache:${spec.kind}`] : [],
    force: spec.force,
    logins: await deps.registries.logins(caller, [...new Set([host, baseHost])]),
    timeoutMs: deps.timeoutMs,
  };
}

/** Tags each ticket's target; those that join meanwhile as well. */
async function finish(deps: PerformDeps, build: StoredBuild, made: Made): Promise<void> {
  const { spec } = build;
  const caller = { login: spec.user, env: await deps.environmentOf(spec.user) };
  const { images } = homeOf(deps.registries, caller, spec.repository);
  const tagged: string[] = [];
  for (;;) {
    const outcome = { state: 'succeeded', digest: made.digest, size: made.size } as const;
    const { ended, untagged } = await deps.store.end(build.id, outcome, tagged);
    if (untagged.length === 0) {
      deps.metrics.ended(build, outcome, made, deps.clock.now());
      if (ended.length > 0) await tell(deps, build, { state: 'succeeded' });
      // Without it the image looks unused since it was made, which is now.
      await deps.uses
        .note(spec.user, [made.digest, `cache:${spec.kind}`], deps.clock.now())
        .catch((error: unknown) => deps.log.debug({ err: error }, 'the use of an image was not noted'));
      return;
    }
    for (const { id, target } of untagged) {
      await images.tag(spec.repository, made.digest, target.slice(spec.user.length + 1));
      tagged.push(id);
    }
  }
}

/** Again where the cause passes, else the end of all tickets. */
async function settle(
  deps: PerformDeps,
  { build, output, trace }: Pick<Trying, 'build' | 'output' | 'trace'>,
  error: unknown,
  attempt: { readonly number: number; readonly last: boolean },
): Promise<Verdict> {
  const { store, log } = deps;
  if (!isAppError(error)) {
    log.error({ err: error, build: build.id, trace_id: trace.traceId }, 'a build broke');
  } else if (error.retry === 'later' && !attempt.last) {
    trace.end('again', failureWord(error));
    await output.line(`try ${attempt.number} failed, it is tried again: ${error.message}`);
    await store.again(build.id, `tried again: ${error.message}`);
    await tell(deps, build, { state: 'queued', message: error.message });
    return { kind: 'again', error };
  }
  const outcome = outcomeOf(error);
  trace.end(outcome.state, outcome.state === 'cancelled' ? undefined : outcome.code);
  await output.line(outcome.message);
  const { ended } = await store.end(build.id, outcome);
  deps.metrics.ended(build, outcome, undefined, deps.clock.now());
  if (ended.length > 0) await tell(deps, build, { state: outcome.state, message: outcome.message });
  log.info(
    {
      build: build.id,
      user: build.spec.user,
      state: outcome.state,
      code: outcome.code,
      trace_id: trace.traceId,
    },
    'build ended',
  );
  return { kind: 'done' };
}

function tooManyLost({ lost }: StoredBuild): AppError {
  return buildError(
    'unprocessable',
    'builder_lost',
    `The builder ended ${lost} times while it was at this build, most often for want of memory. Ask again; should it go on, the operator finds the reason in the builder's log.`,
  );
}

type Failed = Exclude<BuildOutcome, { readonly state: 'succeeded' }>;

function outcomeOf(error: unknown): Failed {
  if (!isAppError(error))
    return { state: 'failed', code: 'internal', message: 'The builder failed; its log tells why.' };
  const state = error.code === 'cancelled' ? 'cancelled' : 'failed';
  return { state, code: failureWord(error), message: messageOf(error) };
}

interface BuildOutput {
  line(text: string): Promise<void>;
  close(): Promise<void>;
}

/** Of a build whose log cannot be opened. */
const noOutput: BuildOutput = { line: () => Promise.resolve(), close: () => Promise.resolve() };

async function openLog({ logs }: PerformDeps, build: StoredBuild, attempt: number): Promise<BuildOutput> {
  const writer = await logs.open({ service: build.spec.user, runId: build.id });
  if (attempt > 1) await writer.write(Buffer.from(`try ${attempt}\n`));
  return {
    line: async (text) => writer.write(Buffer.from(`${text}\n`)),
    close: async () => {
      await writer.close();
    },
  };
}

async function tell(
  { say, clock }: PerformDeps,
  build: StoredBuild,
  change: Pick<BuildChanged, 'state' | 'progress' | 'message'>,
): Promise<void> {
  const { id, spec, tickets } = build;
  await say(
    { build: id, user: spec.user, tickets: [...tickets], at: clock.now(), ...change },
    spec.traceparent,
  );
}
