import { parseQuantity } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Pool } from 'undici';
import type { KubeTarget } from './kube-config.ts';
import { kubeFailure, statusFailure } from './kube-errors.ts';

/** A node of the cluster; amounts are what it offers to pods. */
export interface KubeNode {
  readonly name: string;
  readonly ready: boolean;
  /** Thousandths of a core. */
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly conditions: readonly { readonly type: string; readonly status: boolean }[];
}

/** What of a cluster belongs to no namespace. */
export interface KubeCluster {
  /** At most 500. @throws AppError `forbidden` without the right to list nodes */
  nodes(): Promise<readonly KubeNode[]>;
  /** As the server says it: `v1.34.4`. */
  version(): Promise<string>;
  close(): Promise<void>;
}

const maxNodes = 500;
const timeoutMs = 10_000;

export async function createKubeCluster(target: KubeTarget): Promise<KubeCluster> {
  const { Pool } = await import('undici');
  const pool = new Pool(target.server.origin, {
    connections: 1,
    connect: { ...target.tls, timeout: timeoutMs },
  });
  const base = target.server.pathname.replace(/\/$/, '');
  return {
    nodes: async () => {
      // From the server's cache: what it was a moment ago will do.
      const list = await get(pool, target, `${base}/api/v1/nodes?resourceVersion=0&limit=${maxNodes}`);
      const { items } = list as { items?: readonly NodeObject[] };
      return (items ?? []).slice(0, maxNodes).map(nodeOf);
    },
    version: async () => {
      const { gitVersion } = (await get(pool, target, `${base}/version`)) as { gitVersion?: string };
      return gitVersion ?? '';
    },
    close: () => pool.destroy(),
  };
}

async function get(pool: Pool, target: KubeTarget, path: string): Promise<unknown> {
  try {
    const { statusCode, headers, body } = await pool.request({
      method: 'GET',
      path,
      headers: { accept: 'application/json', ...(await target.headers()) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    const text = await body.text();
    if (statusCode !== 200) throw statusFailure(statusCode, text, headers['retry-after']);
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new AppError('unavailable', 'Kubernetes answered with something other than JSON.', {
        cause: error,
      });
    throw kubeFailure(error);
  }
}

interface NodeObject {
  readonly metadata?: { readonly name?: string };
  readonly status?: {
    readonly allocatable?: Readonly<Record<string, string>>;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

function nodeOf({ metadata, status }: NodeObject): KubeNode {
  const conditions = (status?.conditions ?? []).map((one) => ({
    type: one.type,
    status: one.status === 'True',
  }));
  return {
    name: metadata?.name ?? '',
    ready: conditions.some((one) => one.type === 'Ready' && one.status),
    cpuMillis: Math.round((parseQuantity(status?.allocatable?.['cpu'] ?? '') ?? 0) * 1000),
    memoryBytes: Math.round(parseQuantity(status?.allocatable?.['memory'] ?? '') ?? 0),
    conditions,
  };
}
