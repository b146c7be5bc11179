import {
  isFinalBuild,
  type BuildCaller,
  type BuildKind,
  type BuildRequest,
  type BuildTicket,
} from '@sluice/shared/contracts';
import { AppError, isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BuildDesk } from '@sluice/shared/stores';
import type { CollectionState, ImageUses } from '../clean-up-ports.ts';
import { buildKey, contentTag, ensureId, sha256Hex } from '../domain/build-key.ts';
import { recipes } from '../domain/recipes/index.ts';
import type { RequestMetrics } from './metrics.ts';
import {
  checkRequest,
  nameOf,
  referenceOf,
  type CheckedRequest,
  type RequestRules,
} from '../domain/request.ts';
import type {
  BuildLimits,
  BuildQueue,
  BuildSpec,
  BuildStore,
  ImageRegistry,
  Registries,
  UserRegistry,
} from '../ports.ts';
import { change } from './during-collection.ts';

/** A base image that `/build/ensure` knows by a name (builder §1.6). */
export interface CatalogueEntry {
  readonly id: string;
  readonly kind: BuildKind;
  readonly source: string;
}

export interface RequestsDeps {
  readonly store: BuildStore;
  readonly queue: BuildQueue;
  readonly registries: Registries;
  readonly rules: RequestRules;
  readonly limits: BuildLimits;
  readonly catalogue: readonly CatalogueEntry[];
  /** For recipes that use one; empty: none. */
  readonly toolImage: string;
  readonly clock: Pick<Clock, 'now'>;
  readonly uuid: () => string;
  readonly uses: Pick<ImageUses, 'note'>;
  readonly metrics: RequestMetrics;
  readonly collection: Pick<CollectionState, 'underWay'>;
}

export type Requests = Pick<BuildDesk, 'start' | 'ensure' | 'cancel'>;

const answers = { created: 'built', joined: 'joined', known: 'joined', full: 'refused' } as const;
/** Seconds after which a request that found the queue full may come again: builds take about this long. */
const retryAfterSeconds = 30;

/** Turns requests into tickets. What is decided in a registry may be asked twice; what is stored is stored in one step. */
export function createRequests(deps: RequestsDeps): Requests {
  const { store, queue } = deps;
  return {
    start: async (caller, request) => begin(deps, caller, request, deps.uuid()),
    ensure: async (caller, { builder, file, retry }) => {
      const entry = deps.catalogue.find(({ id }) => id === builder);
      if (entry === undefined) {
        throw new AppError(
          'invalid_input',
          `The builder ${JSON.stringify(builder.slice(0, 64))} is unknown.`,
          {
            field: 'builder',
          },
        );
      }
      const { kind, source } = entry;
      const id = ensureId(builder, kind, source, file);
      const known = await store.ticket(caller.login, id);
      if (known !== undefined) {
        if (!isFinalBuild(known.state)) return answered(deps, 'joined', known);
        if (known.state === 'succeeded' ? await isThere(deps, caller, known) : !retry)
          return answered(deps, known.state === 'succeeded' ? 'reused' : 'failed', known);
        await store.forget(caller.login, id);
      }
      const target = `${caller.login}:${kind}-${id.slice(0, 20)}`;
      // The user's own registry does not count here (builder §1.6).
      return begin(deps, { ...caller, env: {} }, { source, target, kind, file }, id);
    },
    cancel: async (caller, id) => {
      const dropped = await store.cancel(caller.login, id, `cancelled by ${caller.login}`);
      if (dropped?.abandoned !== undefined) await queue.remove(dropped.abandoned);
      return dropped?.ticket;
    },
  };
}

async function begin(
  deps: RequestsDeps,
  caller: BuildCaller,
  request: BuildRequest,
  id: string,
): Promise<BuildTicket> {
  const checked = checkRequest(caller, request, deps.rules);
  const recipe = recipes[checked.kind];
  const fault = checked.file === undefined ? undefined : recipe.check(checked.file);
  if (fault !== undefined) throw new AppError('unprocessable', fault, { field: 'file' });
  const home = deps.registries.of(caller);
  const source = referenceOf(checked.source);
  const base = await baseOf(home.images, source, checked);
  const spec: Omit<BuildSpec, 'contentTag'> = {
    user: caller.login,
    kind: checked.kind,
    source: nameOf(checked.source),
    baseDigest: base.digest,
    baseUser: base.user,
    file: checked.file,
    toolImage: checked.file !== undefined && recipe.usesToolImage ? deps.toolImage : '',
    platforms: checked.platforms,
    sbom: checked.sbom,
    provenance: checked.provenance,
    repository: home.repository,
    force: checked.force,
    ...(caller.traceparent === undefined ? {} : { traceparent: caller.traceparent }),
  };
  const key = buildKey(spec, recipe.version);
  const tag = contentTag(checked.kind, key);
  const ticket: BuildTicket = {
    id,
    user: caller.login,
    build: '',
    kind: checked.kind,
    source,
    base_digest: base.digest,
    target: `${caller.login}:${checked.tag}`,
    image: `${home.pullRepository}:${checked.tag}`,
    pushed: `${home.repository}:${checked.tag}`,
    ...(checked.file === undefined ? {} : { requirements: sha256Hex(checked.file) }),
    state: 'queued',
    reused: false,
    created_at: deps.clock.now(),
  };
  const found = checked.force ? undefined : await reuse(deps, home, ticket, tag);
  if (found !== undefined) return answered(deps, 'reused', found);
  return join(deps, ticket, { id: deps.uuid(), key, spec: { ...spec, contentTag: tag } });
}

/** The base image as it is now. @throws AppError that names `source` */
async function baseOf(
  images: ImageRegistry,
  source: string,
  { platforms }: CheckedRequest,
): Promise<{ readonly digest: string; readonly user: string }> {
  try {
    const facts = await images.baseFacts(source);
    const missing = platforms.filter((one) => !facts.platforms.includes(one));
    if (missing.length === 0) return facts;
    throw new AppError(
      'unprocessable',
      `The base image ${source} is not made for ${missing.join(', ')}; it is for ${facts.platforms.join(', ')}.`,
      { field: 'platforms' },
    );
  } catch (error) {
    if (!isAppError(error) || error.field !== undefined) throw error;
    const wanted = ['not_found', 'forbidden', 'unprocessable', 'invalid_input'].includes(error.code);
    if (!wanted) throw error;
    throw new AppError(
      error.code === 'forbidden' ? 'forbidden' : error.code === 'not_found' ? 'not_found' : 'unprocessable',
      `The base image ${source} cannot be used. ${error.message}`,
      { field: 'source', cause: error },
    );
  }
}

/** A finished key is answered by its image, as long as that is there. */
async function reuse(
  deps: RequestsDeps,
  { images, repository }: UserRegistry,
  ticket: BuildTicket,
  content: string,
): Promise<BuildTicket | undefined> {
  const digest = await images.digestOf(`${repository}:${content}`);
  if (digest === undefined) return undefined;
  const tag = ticket.target.slice(ticket.user.length + 1);
  await change(deps.collection, async () => images.tag(repository, digest, tag));
  const now = deps.clock.now();
  await deps.uses.note(ticket.user, [digest], now);
  return deps.store.put({
    ...ticket,
    state: 'succeeded',
    message: 'the same image was there already',
    digest,
    reused: true,
    started_at: now,
    ended_at: now,
  });
}

function answered(
  { metrics }: Pick<RequestsDeps, 'metrics'>,
  how: Parameters<RequestMetrics['answered']>[0],
  ticket: BuildTicket,
): BuildTicket {
  metrics.answered(how);
  return ticket;
}

async function join(
  { store, queue, limits, metrics }: RequestsDeps,
  ticket: BuildTicket,
  build: { readonly id: string; readonly key: string; readonly spec: BuildSpec },
): Promise<BuildTicket> {
  const joined = await store.join(ticket, build, limits);
  metrics.answered(answers[joined.kind]);
  if (joined.kind === 'full') {
    const whose = joined.of === 'user' ? `of ${ticket.user} ` : '';
    throw new AppError(
      'limit_reached',
      `${joined.open} builds ${whose}wait or run already. Come again when some have ended.`,
      { retryAfterSeconds },
    );
  }
  // A build that is stored and not in the queue is found by the workers: whoever asked has it either way.
  if (joined.kind !== 'known') await queue.add(joined.build).catch(() => undefined);
  return joined.ticket;
}

/** Whether the image of a ticket that has succeeded is still in the registry. */
async function isThere(deps: RequestsDeps, caller: BuildCaller, ticket: BuildTicket): Promise<boolean> {
  const { images } = deps.registries.of({ login: caller.login, env: {} });
  return (await images.digestOf(ticket.pushed)) !== undefined;
}
