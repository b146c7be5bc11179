import type { ConnectionOptions } from 'node:tls';
import { AppError, messageOf } from '@sluice/shared/errors';

type KubeTls = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized' | 'servername'>;

/** Where the API server is and how to show it who we are. */
export interface KubeTarget {
  /** Address, perhaps with a path. */
  readonly server: URL;
  /** The namespace that the configuration itself names. */
  readonly namespace: string | undefined;
  readonly tls: KubeTls;
  /** Headers that authenticate a request. Asked again now and then: the token of a service account changes while the process runs. */
  headers(): Promise<Readonly<Record<string, string>>>;
}

/**
 * Reads a kubeconfig, or what a pod finds of its own cluster.
 * @param file path of a kubeconfig; undefined: the service account of this pod
 * @throws AppError `invalid_input` that says what to mend
 */
export async function loadKubeTarget(file: string | undefined): Promise<KubeTarget> {
  // Loaded on use: its models of every Kubernetes object cost some 40 MiB, which a server without a cluster must not pay.
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    if (file === undefined) config.loadFromCluster();
    else config.loadFromFile(file);
  } catch (error) {
    throw new AppError(
      'invalid_input',
      `The configuration for Kubernetes cannot be read: ${messageOf(error)}.`,
      { field: 'KUBECONFIG', cause: error },
    );
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null || !URL.canParse(cluster.server))
    throw refused('names no cluster in its current context');
  if (cluster.proxyUrl !== undefined) throw refused('asks for a proxy, which is not supported');
  const options = async (): Promise<Options> => {
    const found: Parameters<typeof config.applyToHTTPSOptions>[0] = {};
    await config.applyToHTTPSOptions(found);
    return found as Options;
  };
  const { ca, cert, key, rejectUnauthorized, servername } = await options();
  return {
    server: new URL(cluster.server),
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
      ...(servername === undefined ? {} : { servername }),
    },
    headers: async () => headersOf(await options()),
  };
}

interface Options extends KubeTls {
  headers?: Readonly<Record<string, unknown>>;
  auth?: string;
}

function headersOf(options: Options): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (typeof value === 'string') headers[name.toLowerCase()] = value.trim();
  }
  if (typeof options.auth === 'string') {
    headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  }
  return headers;
}

function refused(what: string): AppError {
  return new AppError('invalid_input', `The configuration for Kubernetes ${what}.`, { field: 'KUBECONFIG' });
}
