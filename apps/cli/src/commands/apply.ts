import type { Context } from '../context.ts';
import { CliError, usageError } from '../cli-error.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import type { JsonObject } from '../fdl/decode.ts';
import { readFdlFiles } from '../fdl/files.ts';
import { mergeFdls } from '../fdl/merge.ts';
import type { FdlService } from '../fdl/parse.ts';
import { problemText, type FdlProblem } from '../fdl/problem.ts';
import { oneLine } from '../format/text.ts';
import { errorDocument } from '../output.ts';
import { compareService, type ServicePlan } from '../plan/compare.ts';
import { planLine } from '../plan/render.ts';
import { warn } from '../say.ts';

export interface ApplyOptions {
  readonly cluster?: string;
}

interface Result {
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
  const { services, warnings } = await load(context, files, options);
  const results: Result[] = [];
  for (const service of services) results.push({ plan: await planOf(context, service), warnings: [] });
  if (context.json !== undefined) {
    await context.json.document({ services: results.map(({ plan }) => documentOf(plan)), warnings });
    return exitCodes.ok;
  }
  const width = nameWidth(services);
  for (const { plan } of results) await context.io.out(`${planLine(plan, width, context.colors)}\n`);
  return exitCodes.ok;
}

/**
 * Makes the server's services those of the files: created where absent, replaced where different. A service that the server refuses does not
 * keep the others from being applied.
 */
export async function apply(
  context: Context,
  files: readonly string[],
  options: ApplyOptions,
): Promise<ExitCode> {
  const { services, warnings } = await load(context, files, options);
  const width = nameWidth(services);
  const results: Result[] = [];
  for (const service of services) {
    const result = await applyOne(context, service);
    results.push(result);
    if (context.json === undefined) await showResult(context, result, width);
  }
  const failed = results.some(({ error }) => error !== undefined);
  if (context.json !== undefined) {
    const documents = results.map(({ plan, error, warnings }) => ({
      ...documentOf(plan),
      warnings,
      ...(error === undefined ? {} : { error: errorDocument(error) }),
    }));
    await context.json.document({ services: documents, warnings });
  }
  return failed ? exitCodes.failed : exitCodes.ok;
}

async function load(
  context: Context,
  files: readonly string[],
  options: ApplyOptions,
): Promise<{ services: readonly FdlService[]; warnings: readonly FdlProblem[] }> {
  const fdls = await readFdlFiles(files, { stdin: context.io.stdin, signal: context.signal });
  const warnings = fdls.flatMap((fdl) => fdl.warnings);
  const services = mergeFdls(fdls, options.cluster);
  if (services.length === 0) {
    const clusters = new Set(fdls.flatMap((fdl) => fdl.services.map(({ document }) => document.cluster_id)));
    throw usageError(
      `No service of the cluster "${options.cluster ?? ''}" is in ${files.join(', ')}.`,
      `Its clusters are: ${[...clusters].join(', ')}`,
    );
  }
  if (context.json === undefined) {
    for (const warning of warnings) await warn(context, problemText(warning));
  }
  return { services, warnings };
}

async function planOf(context: Context, service: FdlService): Promise<ServicePlan> {
  const actual = await context.api.service(service.document.name);
  return compareService(service.document, actual as JsonObject | undefined);
}

async function applyOne(context: Context, service: FdlService): Promise<Result> {
  const plan = await planOf(context, service);
  try {
    return { plan, warnings: await send(context, service, plan) };
  } catch (error) {
    // Without a server, or without its leave, the other services can't be applied either.
    if (!(error instanceof CliError) || error.exitCode !== exitCodes.failed) throw error;
    return { plan, warnings: [], error };
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

async function showResult(context: Context, { plan, warnings, error }: Result, width: number): Promise<void> {
  for (const warning of warnings) await warn(context, `${plan.service}: ${oneLine(warning)}`);
  if (error === undefined) {
    await context.io.out(`${planLine(plan, width, context.colors)}\n`);
    return;
  }
  const line = `! ${oneLine(plan.service).padEnd(width)}  ${error.message}`;
  await context.io.err(`${context.errColors.red(line)}\n`);
}

function nameWidth(services: readonly FdlService[]): number {
  return Math.max(...services.map(({ document }) => oneLine(document.name).length));
}

function documentOf(plan: ServicePlan): object {
  const { service, action, changes, sendsSecrets } = plan;
  return { service, action, changes, sends_secrets: sendsSecrets };
}
