import { CliError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import type { JsonObject } from '../fdl/decode.ts';
import type { FdlService } from '../fdl/parse.ts';
import { oneLine } from '../format/text.ts';
import { errorDocument } from '../output.ts';
import { compareService, type ServicePlan } from '../plan/compare.ts';
import { loadServices, showWarnings, type Loaded, type LoadOptions, type Target } from '../plan/load.ts';
import { planLine } from '../plan/render.ts';
import { note, warn } from '../say.ts';

export interface ApplyOptions extends LoadOptions {
  readonly watch?: boolean;
}

interface Result {
  readonly target: Target;
  readonly plan: ServicePlan;
  /** What the server said about things that it does not do. */
  readonly warnings: readonly string[];
  readonly error?: CliError;
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
  const results: Result[] = [];
  for (const target of targets) results.push({ target, plan: await planOf(target), warnings: [] });
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
  const { isFailed, document } = await applyServices(context, loaded, true);
  await context.json?.document(document);
  return isFailed ? exitCodes.failed : exitCodes.ok;
}

/** @param showsUnchanged a line also for services that are as they should be */
export async function applyServices(
  context: Context,
  loaded: Loaded,
  showsUnchanged: boolean,
): Promise<{ readonly isFailed: boolean; readonly document: object }> {
  const { targets, warnings } = loaded;
  await showWarnings(context, loaded);
  const width = nameWidth(targets);
  const say = createServerNotes(context, targets);
  const results: Result[] = [];
  for (const target of targets) {
    const result = await applyOne(target);
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

async function planOf({ context, service }: Target): Promise<ServicePlan> {
  const actual = await context.api.service(service.document.name);
  return compareService(service.document, actual as JsonObject | undefined);
}

async function applyOne(target: Target): Promise<Result> {
  const plan = await planOf(target);
  try {
    return { target, plan, warnings: await send(target.context, target.service, plan) };
  } catch (error) {
    // Without a server, or without its leave, the other services can't be applied either.
    if (!(error instanceof CliError) || error.exitCode !== exitCodes.failed) throw error;
    return { target, plan, warnings: [], error };
  }
}

async function send(context: Context, service: FdlService, plan: ServicePlan): Promise<readonly string[]> {
  const { api } = context;
  if (plan.action === 'unchanged' && !plan.sendsSecrets) return [];
  if (plan.action !== 'create') return await api.updateService(service.document);
  try {
    return await api.createService(service.document);
  } catch (error) {
    // Somebody else made it since it was looked for, or the answer to our own call was lost.
    const isRefused = error instanceof CliError && (error.status === 400 || error.status === 409);
    if (!isRefused || (await api.service(service.document.name)) === undefined) throw error;
    return await api.updateService(service.document);
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

async function showResult(context: Context, { plan, warnings, error }: Result, width: number): Promise<void> {
  for (const warning of warnings) await warn(context, `${plan.service}: ${oneLine(warning)}`);
  if (error === undefined) {
    await context.io.out(`${planLine(plan, width, context.colors)}\n`);
    return;
  }
  const line = `! ${oneLine(plan.service).padEnd(width)}  ${error.message}`;
  await context.io.err(`${context.errColors.red(line)}\n`);
}

function nameWidth(targets: readonly Target[]): number {
  return Math.max(...targets.map(({ service }) => oneLine(service.document.name).length));
}

function documentOf({ plan, target }: Result): object {
  const { service, action, changes, sendsSecrets } = plan;
  const profile = target.profile === undefined ? {} : { profile: target.profile };
  return { service, ...profile, action, changes, sends_secrets: sendsSecrets };
}
