import type { WireBuild } from '../api/build-wire.ts';
import { CliError } from '../cli-error.ts';
import { failureTail, followBuild } from '../builds/follow.ts';
import { buildFailureText, pinned } from '../builds/describe.ts';
import { contentTag, imageOwner } from '../builds/target.ts';
import { createBuildView, type BuildView } from '../builds/view.ts';
import { askUntilTaken, whileBuilding } from '../builds/wait.ts';
import type { Context } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import type { FdlBuild } from '../fdl/build.ts';
import { waitDeadline } from '../runs/follow.ts';
import type { PlannedBuild } from './compare.ts';
import type { Target } from './load.ts';

/** The image of a service that has a `build`, as far as it is known. */
export interface ServiceImage {
  /** By tag and digest; absent: it is not there, or could not be had. */
  readonly image?: string;
  /** What is to be built for it; absent: nothing. */
  readonly build?: PlannedBuild;
  readonly error?: CliError;
  /** The end of the log of a build that failed. */
  readonly logTail?: readonly string[];
}

/** Of services with a `build`. */
export type ServiceImages = ReadonlyMap<Target, ServiceImage>;

type Buildable = Target & { readonly service: { readonly build: FdlBuild } };

function buildable(targets: readonly Target[]): Buildable[] {
  return targets.filter((target): target is Buildable => target.service.build !== undefined);
}

/**
 * What is to be built. Nothing is started.
 * @param rebuilds also where the image is there: the one that it begins with may have changed
 */
export async function planImages(targets: readonly Target[], rebuilds: boolean): Promise<ServiceImages> {
  const images = new Map<Target, ServiceImage>();
  for (const target of buildable(targets)) images.set(target, await planImage(target, rebuilds));
  return images;
}

async function planImage(target: Buildable, rebuilds: boolean): Promise<ServiceImage> {
  const { build, document } = target.service;
  const tag = contentTag(document.name, { ...build, file: build.bytes });
  const owner = imageOwner(target.context);
  const found = await target.context.api.image(tag);
  const known = found === undefined ? {} : { image: pinned(found) };
  if (found !== undefined && !rebuilds && !build.followsBase) return known;
  const { kind, file } = build;
  return { ...known, build: { kind, file, target: `${owner}:${tag}`, isCheck: found !== undefined } };
}

/** Builds what is to be built, all of it at the same time. A build that fails does not end the others. */
export async function buildImages(
  context: Context,
  targets: readonly Target[],
  rebuilds: boolean,
): Promise<ServiceImages> {
  const images = new Map<Target, ServiceImage>();
  const open = new Set<string>();
  const view = createBuildView(context);
  const shown: Shown = { view, open };
  const work = async (target: Buildable): Promise<void> => {
    images.set(target, await orFailure(async () => await imageOf(target, rebuilds, shown)));
  };
  await whileBuilding(context, open, async () => {
    // All of them have ended before anything is said of the first that cannot go on.
    const results = await Promise.allSettled(buildable(targets).map(work));
    await view.stop();
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  });
  return images;
}

interface Shown {
  readonly view: BuildView;
  /** Builds under way. */
  readonly open: Set<string>;
}

async function imageOf(target: Buildable, rebuilds: boolean, shown: Shown): Promise<ServiceImage> {
  const planned = await planImage(target, rebuilds);
  const { build } = planned;
  if (build === undefined) return planned;
  const { context, service } = target;
  const { source, kind, bytes, platforms } = service.build;
  const request = {
    source,
    kind,
    target: build.target,
    file: Buffer.from(bytes).toString('base64'),
    ...(platforms.length === 0 ? {} : { platforms }),
  };
  const { name } = service.document;
  const { id } = await askUntilTaken(
    context,
    waitDeadline(context),
    () => context.api.startBuild(request),
    (text) => shown.view.note(`${name}: ${text}`),
  );
  shown.open.add(id);
  const ended = await followBuild(context, id, shown.view, name);
  shown.open.delete(id);
  return await outcomeOf(context, build, ended);
}

async function outcomeOf(context: Context, build: PlannedBuild, ended: WireBuild): Promise<ServiceImage> {
  const { image, digest } = ended;
  if (ended.state === 'succeeded' && image !== undefined && digest !== undefined)
    return { build, image: pinned({ image, digest }) };
  const error = new CliError(
    exitCodes.failed,
    `its image was not built (${ended.state}): ${buildFailureText(ended)}`,
    { code: ended.code ?? 'build_failed', hint: `The whole log: sluice build logs ${ended.id}` },
  );
  return { build, error, logTail: await failureTail(context, ended) };
}

/** Without a server, or without its leave, the other services can't be applied either; anything else is this service's fault alone. */
async function orFailure(work: () => Promise<ServiceImage>): Promise<ServiceImage> {
  try {
    return await work();
  } catch (error) {
    const ends: readonly number[] = [exitCodes.unreachable, exitCodes.unauthenticated, exitCodes.interrupted];
    if (!(error instanceof CliError) || ends.includes(error.exitCode)) throw error;
    return { error };
  }
}
