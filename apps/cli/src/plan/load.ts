import { usageError } from '../cli-error.ts';
import { connectToProfile, type Context } from '../context.ts';
import { readFdlFiles } from '../fdl/files.ts';
import { mergeFdls } from '../fdl/merge.ts';
import type { FdlService } from '../fdl/parse.ts';
import { problemText, type FdlProblem } from '../fdl/problem.ts';
import { warn } from '../say.ts';

export interface LoadOptions {
  readonly cluster?: string;
}

/** A service and the server that it goes to. */
export interface Target {
  readonly service: FdlService;
  readonly context: Context;
  /** Profile that the server was found by, which the service's cluster names. */
  readonly profile: string | undefined;
}

export interface Loaded {
  readonly targets: readonly Target[];
  readonly warnings: readonly FdlProblem[];
}

/**
 * Reads FDL files and finds the server of each service: of the profile that its cluster names, else the command's own.
 * @throws FdlError with the faults of all files
 */
export async function loadServices(
  context: Context,
  files: readonly string[],
  options: LoadOptions,
  onScript: (file: string) => void = () => undefined,
): Promise<Loaded> {
  const fdls = await readFdlFiles(files, { stdin: context.io.stdin, signal: context.signal, onScript });
  const warnings = fdls.flatMap((fdl) => fdl.warnings);
  const serverOf = createServers(context);
  const services = mergeFdls(
    fdls,
    options.cluster,
    (cluster) => serverOf(cluster).context.connection.url.href,
  );
  if (services.length === 0) {
    const clusters = new Set(fdls.flatMap((fdl) => fdl.services.map(({ document }) => document.cluster_id)));
    throw usageError(
      `No service of the cluster "${options.cluster ?? ''}" is in ${files.join(', ')}.`,
      `Its clusters are: ${[...clusters].join(', ')}`,
    );
  }
  return {
    targets: services.map((service) => ({ service, ...serverOf(service.document.cluster_id) })),
    warnings,
  };
}

type Server = Pick<Target, 'context' | 'profile'>;

/** What the command line says (`--url`, `--profile`) is for all services. */
function createServers(context: Context): (cluster: string) => Server {
  const own: Server = { context, profile: undefined };
  const { url, profile } = context.options;
  if (url !== undefined || profile !== undefined) return () => own;
  const servers = new Map<string, Server>();
  return (cluster) => {
    if (!context.config.profiles.has(cluster)) return own;
    let server = servers.get(cluster);
    if (server === undefined) {
      server = { context: connectToProfile(context, cluster), profile: cluster };
      servers.set(cluster, server);
    }
    return server;
  };
}

export async function showWarnings(context: Context, { warnings }: Loaded): Promise<void> {
  if (context.json !== undefined) return;
  for (const warning of warnings) await warn(context, problemText(warning));
}
