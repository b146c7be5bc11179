import { textIn, type JsonRecord } from '../api/wire.ts';
import { CliError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import type { JsonObject } from '../fdl/decode.ts';
import type { ServiceDocument } from '../fdl/parse.ts';
import { oneLine } from '../format/text.ts';
import { errorDocument } from '../output.ts';
import { compareService, type PlannedBuild, type ServicePlan } from '../plan/compare.ts';
import { buildImages, planImages, type ServiceImage, type ServiceImages } from '../plan/images.ts';
import { loadServices, showWarnings, type Loaded, type LoadOptions, type Target } from '../plan/load.ts';
import { planLine } from '../plan/render.ts';
import { note, warn } from '../say.ts';

export interface ApplyOptions extends LoadOptions {
  readonly watch?: boolean;
  /** Images are built again where the one that they begin with has changed. */
  readonly rebuild?: boolean;
}

interface Result {
  readonly target: Target;
  readonly plan: ServicePlan;
  /** What the server said about things that it does not do. */
  readonly warnings: readonly string[];
  readonly error?: CliError;
  /** The end of the log of the build that failed for it. */
  readonly logTail?: readonly string[];
}

/** Shows what `apply` would change. Nothing is changed. */
export async function plan(
  context: Context,
  files: readonly string[],
  options: ApplyOptions,
): Promise<ExitCode> {
  const loaded = await loadServices(context, files, options);
  const { targets, warnings } = loaded;
  await showWarnings(context, loaded);
  const images = await planImages(targets, options.rebuild === true);
  const results: Result[] = [];
  for (const target of targets) {
    const wanted = await wantedOf(target, images.get(target));
    results.push({ target, plan: planOf(wanted), warnings: [] });
  }
  if (context.json !== undefined) {
    await context.json.document({ services: results.map(documentOf), warnings });
    return exitCodes.ok;
  }
  const width = nameWidth(targets);
  const say = createServerNotes(context, targets);
  for (const { target, plan } of results) {
    await say(target);
    await context.io.out(`${planLine(plan, width, context.colors)}\n`);
  }
  return exitCodes.ok;
}

/**
 * Makes the servers' services those of the files: created where absent, replaced where different. A service that the server refuses does not
 * keep the others from being applied.
 */
export async function apply(
  context: Context,
  files: readonly string[],
  options: ApplyOptions,
): Promise<ExitCode> {
  if (options.watch === true) {
    const { watchAndApply } = await import('./apply-watch.ts');
    return await watchAndApply(context, files, options);
  }
  const loaded = await loadServices(context, files, options);
  const settings = { rebuilds: options.rebuild === true, showsUnchanged: true };
  const { isFailed, document } = await applyServices(context, loaded, settings);
  await context.json?.document(document);
  return isFailed ? exitCodes.failed : exitCodes.ok;
}

export interface ApplySettings {
  readonly rebuilds: boolean;
  /** A line also for services that are as they should be. */
  readonly showsUnchanged: boolean;
}

export async function applyServices(
  context: Context,
  loaded: Loaded,
  { rebuilds, showsUnchanged }: ApplySettings,
): Promise<{ readonly isFailed: boolean; readonly document: object }> {
  const { targets, warnings } = loaded;
  await showWarnings(context, loaded);
  const images = await buildImages(context, targets, rebuilds);
  const width = nameWidth(targets);
  const say = createServerNotes(context, targets);
  const results: Result[] = [];
  for (const target of targets) {
    const result = await applyOne(target, images);
    results.push(result);
    const isSilent = result.plan.action === 'unchanged' && result.error === undefined && !showsUnchanged;
    if (context.json !== undefined || isSilent) continue;
    await say(target);
    await showResult(context, result, width);
  }
  const documents = results.map((result) => ({
    ...documentOf(result),
    warnings: result.warnings,
    ...(result.error === undefined ? {} : { error: errorDocument(result.error) }),
  }));
  return {
    isFailed: results.some(({ error }) => error !== undefined),
    document: { services: documents, warnings },
  };
}

interface Wanted {
  readonly document: ServiceDocument;
  /** The server's. */
  readonly actual: JsonRecord | undefined;
  readonly build?: PlannedBuild | undefined;
}

/** The definition with the image that its `build` made, or the server's own image where that is to be built yet. */
async function wantedOf(target: Target, made: ServiceImage | undefined): Promise<Wanted> {
  const { context, service } = target;
  const actual = await context.api.service(service.document.name);
  if (made === undefined) return { document: service.document, actual };
  const image = made.image ?? (actual === undefined ? undefined : textIn(actual, 'image'));
  const document = image === undefined ? service.document : { ...service.document, image };
  return { document, actual, build: made.build };
}

function planOf({ document, actual, build }: Wanted): ServicePlan {
  const plan = compareService(document, actual as JsonObject | undefined);
  if (build === undefined) return plan;
  const isChange = plan.action === 'unchanged' && !build.isCheck;
  return { ...plan, ...(isChange ? { action: 'update' } : {}), build };
}

async function applyOne(target: Target, images: ServiceImages): Promise<Result> {
  const made = images.get(target);
  const wanted = await wantedOf(target, made);
  // What came of a question is seen in the image.
  const plan = planOf(wanted.build?.isCheck === true ? { ...wanted, build: undefined } : wanted);
  if (made?.error !== undefined)
    return { target, plan, warnings: [], error: made.error, logTail: made.logTail ?? [] };
  try {
    return { target, plan, warnings: await send(target.context, wanted.document, plan) };
  } catch (error) {
    // Without a server, or without its leave, the other services can't be applied either.
    if (!(error instanceof CliError) || error.exitCode !== exitCodes.failed) throw error;
    return { target, plan, warnings: [], error };
  }
}

async function send(
  context: Context,
  document: ServiceDocument,
  plan: ServicePlan,
): Promise<readonly string[]> {
  const { api } = context;
  if (plan.action === 'unchanged' && !plan.sendsSecrets) return [];
  if (plan.action !== 'create') return await api.updateService(document);
  try {
    return await api.createService(document);
  } catch (error) {
    // Somebody else made it since it was looked for, or the answer to our own call was lost.
    const isRefused = error instanceof CliError && (error.status === 400 || error.status === 409);
    if (!isRefused || (await api.service(document.name)) === undefined) throw error;
    return await api.updateService(document);
  }
}

/** Where a file's services go to servers by their cluster, each change of server is said. */
function createServerNotes(context: Context, targets: readonly Target[]): (target: Target) => Promise<void> {
  const isSaid = targets.some(({ profile }) => profile !== undefined);
  let last: string | undefined;
  return async (target) => {
    const at = target.context.connection.url.href.replace(/\/$/, '');
    if (!isSaid || at === last) return;
    last = at;
    const name = target.profile === undefined ? '' : `${target.profile}, `;
    await note(context, `server: ${name}${at}`);
  };
}

async function showResult(
  context: Context,
  { plan, warnings, error, logTail = [] }: Result,
  width: number,
): Promise<void> {
  for (const warning of warnings) await warn(context, `${plan.service}: ${oneLine(warning)}`);
  if (error === undefined) {
    await context.io.out(`${planLine(plan, width, context.colors)}\n`);
    return;
  }
  const line = `! ${oneLine(plan.service).padEnd(width)}  ${error.message}`;
  const hint = error.hint === undefined ? [] : [`  ${error.hint}`];
  const more = [...logTail.map((text) => `  | ${oneLine(text)}`), ...hint];
  await context.io.err([context.errColors.red(line), ...more, ''].join('\n'));
}

function nameWidth(targets: readonly Target[]): number {
  return Math.max(...targets.map(({ service }) => oneLine(service.document.name).length));
}

function documentOf({ plan, target, logTail = [] }: Result): object {
  const { service, action, changes, sendsSecrets, build } = plan;
  return {
    service,
    ...(target.profile === undefined ? {} : { profile: target.profile }),
    action,
    changes,
    sends_secrets: sendsSecrets,
    ...(build === undefined ? {} : { build: buildDocument(build) }),
    ...(logTail.length === 0 ? {} : { log_tail: logTail }),
  };
}

function buildDocument({ kind, file, target, isCheck }: PlannedBuild): object {
  return { kind, file, target, ...(isCheck ? { only_if_base_changed: true } : {}) };
}
