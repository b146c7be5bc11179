import type { Installation } from './server.ts';

/** Whatever takes requests as the administrator. */
type Api = Pick<Installation, 'request'>;

export interface RunView {
  readonly id: string;
  readonly service: string;
  readonly state: string;
  readonly attempt: number;
  readonly exit_code?: number;
  readonly failure?: { code: string; message: string };
  readonly input?: { bucket: string; key: string; etag: string };
  readonly outputs?: readonly { bucket: string; key: string; size: number }[];
  readonly timeline: readonly { at: string; state: string; attempt: number; message?: string }[];
}

/** An image that the cluster has, and so little room that many fit beside each other on one node; a server that runs processes cares for neither. */
export const small = { image: 'busybox', cpu: '0.05', memory: '64Mi' } as const;

/** A service whose input and output lie in a bucket of its name. */
export function definitionOf(name: string, script: string, more: Readonly<Record<string, unknown>>): object {
  return {
    name,
    image: 'example/any',
    script,
    input: [{ storage_provider: 'minio.default', path: `${name}/in` }],
    output: [{ storage_provider: 'minio.default', path: `${name}/out` }],
    ...more,
  };
}

/** Creates a service whose input and output lie in a bucket of its name. */
export async function createService(
  server: Api,
  name: string,
  script: string,
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const body = JSON.stringify(definitionOf(name, script, more));
  const answer = await server.request('/system/services', { method: 'POST', body });
  if (answer.status !== 201) throw new Error(`create ${name}: ${answer.status} ${await answer.text()}`);
}

export async function tokenOf(server: Api, service: string): Promise<string> {
  const answer = await server.request(`/system/services/${service}`);
  const { token } = (await answer.json()) as { token: string };
  return token;
}

/** All runs of a service, page by page. */
export async function runsOf(server: Api, service: string, states?: string): Promise<RunView[]> {
  const runs: RunView[] = [];
  let cursor: string | undefined;
  do {
    const query = new URLSearchParams({ service, limit: '1000' });
    if (states !== undefined) query.set('state', states);
    if (cursor !== undefined) query.set('cursor', cursor);
    const answer = await server.request(`/system/runs?${query.toString()}`);
    if (!answer.ok) throw new Error(`list runs: ${answer.status} ${await answer.text()}`);
    const page = (await answer.json()) as { runs: RunView[]; next?: string };
    runs.push(...page.runs);
    cursor = page.next;
  } while (cursor !== undefined);
  return runs;
}

export async function runOf(server: Api, id: string): Promise<RunView> {
  const answer = await server.request(`/system/runs/${id}`);
  if (!answer.ok) throw new Error(`run ${id}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as RunView;
}

export async function stateCounts(server: Api): Promise<Record<string, number>> {
  const answer = await server.request('/system/overview');
  return ((await answer.json()) as { runs: Record<string, number> }).runs;
}
