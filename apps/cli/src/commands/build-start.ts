import type { Asked, BuildRequest } from '../api/build-routes.ts';
import type { WireBuild } from '../api/build-wire.ts';
import { pinned } from '../builds/describe.ts';
import { readRequirements } from '../builds/file.ts';
import { buildFailureBlock, failureTail, followOne } from '../builds/follow.ts';
import { contentTag, imageOwner } from '../builds/target.ts';
import { createBuildView } from '../builds/view.ts';
import { askUntilTaken, whileBuilding } from '../builds/wait.ts';
import { usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { oneLine } from '../format/text.ts';
import { waitDeadline } from '../runs/follow.ts';
import { note } from '../say.ts';

export interface StartOptions {
  readonly source: string;
  readonly kind: string;
  readonly file?: string;
  readonly target?: string;
  readonly force?: boolean;
  readonly platform?: string;
  readonly sbom?: boolean;
  readonly provenance?: boolean;
  /** False with `--no-wait`. */
  readonly wait: boolean;
}

export interface EnsureOptions {
  readonly builder: string;
  readonly file: string;
  /** False with `--no-retry`. */
  readonly retry: boolean;
  readonly wait: boolean;
}

/** Lines of the log that are seen while a build is waited for. */
const shownLines = 6;

/** Builds an image. Its name and digest are the result, or with `--no-wait` the build's id. */
export async function startBuild(context: Context, options: StartOptions): Promise<ExitCode> {
  const { source, kind, force, sbom, provenance } = options;
  const platforms = platformsOf(options.platform);
  const file = options.file === undefined ? undefined : await readRequirements(context, options.file);
  const target =
    options.target ??
    `${imageOwner(context)}:${contentTag(oneWord(kind), { source, kind, file, platforms })}`;
  const request: BuildRequest = {
    source,
    target,
    kind,
    ...(file === undefined ? {} : { file: file.toString('base64') }),
    ...(platforms.length === 0 ? {} : { platforms }),
    ...(force === true ? { force } : {}),
    ...(sbom === true ? { sbom } : {}),
    ...(provenance === true ? { provenance } : {}),
  };
  return await perform(context, options.wait, () => context.api.startBuild(request));
}

/** The image of one of the server's builders and a file; the build is named by both. */
export async function ensureBuild(context: Context, options: EnsureOptions): Promise<ExitCode> {
  const { builder, retry } = options;
  const file = (await readRequirements(context, options.file)).toString('base64');
  return await perform(context, options.wait, () => context.api.ensureBuild({ builder, file, retry }));
}

function platformsOf(text: string | undefined): readonly string[] {
  if (text === undefined) return [];
  const platforms = text.split(',').map((platform) => platform.trim());
  if (platforms.includes(''))
    throw usageError('--platform takes names with commas between them: linux/amd64,linux/arm64');
  return platforms;
}

/** What begins a tag; whether there is such a kind is the server's to say. */
function oneWord(kind: string): string {
  if (/^\w[\w.-]{0,40}$/.test(kind)) return kind;
  throw usageError(`--kind ${kind} is no kind of requirements file`);
}

async function perform(context: Context, waits: boolean, ask: () => Promise<Asked>): Promise<ExitCode> {
  if (!waits) {
    const { id, raw } = await ask();
    if (context.json === undefined) await context.io.out(`${oneLine(id)}\n`);
    else await context.json.document(raw);
    return exitCodes.ok;
  }
  const say = (text: string): Promise<void> => note(context, text);
  const { id } = await askUntilTaken(context, waitDeadline(context), ask, say);
  await note(context, `build ${oneLine(id)}`);
  const view = createBuildView(context, shownLines);
  const build = await whileBuilding(context, new Set([id]), async () => {
    try {
      return await followOne(context, id, view);
    } finally {
      await view.stop();
    }
  });
  await reportOutcome(context, build);
  return build.state === 'succeeded' ? exitCodes.ok : exitCodes.runFailed;
}

/** The build's document with `--json`, its `log_tail` where it failed; else the image, or on stderr why there is none. */
async function reportOutcome(context: Context, build: WireBuild): Promise<void> {
  const tail = await failureTail(context, build);
  if (context.json !== undefined) {
    await context.json.document(tail.length === 0 ? build.raw : { ...build.raw, log_tail: tail });
    return;
  }
  if (build.state !== 'succeeded') {
    await context.io.err(buildFailureBlock(context, build, tail));
    return;
  }
  const { image = '', digest } = build;
  if (build.reused) await note(context, 'The image was there already.');
  await context.io.out(`${oneLine(digest === undefined ? image : pinned({ image, digest }))}\n`);
}
