import { cpus, hostname, totalmem } from 'node:os';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createService, runsOf, tokenOf } from './support/service.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

// The routes about a service's runtime and about the installation, on the real server (OSCAR §1.6 to §1.11).
let data: string;
let server: Server;

beforeAll(async () => {
  data = await tempFolder();
  server = await startServer({ data });
});
afterAll(async () => {
  await server.stop();
  await removeFolder(data);
});

const post = async (path: string) => server.request(path, { method: 'POST' });
const json = async (path: string): Promise<unknown> => (await server.request(path)).json();

interface Status {
  readonly cluster: {
    readonly nodes_count: number;
    readonly nodes: readonly {
      readonly name: string;
      readonly cpu: { readonly capacity_cores: number; readonly request_cores?: number };
      readonly memory: { readonly capacity_bytes: number; readonly request_bytes?: number };
      readonly status: string;
    }[];
  };
  readonly oscar: { readonly jobs_count: number; readonly pods: { readonly states: Record<string, number> } };
}
const status = async () => (await json('/system/status')) as Status;

describe('/system/status', () => {
  test('is about this machine, and what a run declares is requested while it is under way', async () => {
    const before = await status();
    const [node] = before.cluster.nodes;
    expect(before.cluster.nodes_count).toBe(1);
    expect(node?.name).toBe(hostname());
    expect(node?.status).toBe('Ready');
    expect(node?.cpu.capacity_cores).toBeGreaterThan(0);
    expect(node?.cpu.capacity_cores).toBeLessThanOrEqual(cpus().length * 1000);
    expect(node?.memory.capacity_bytes).toBeLessThanOrEqual(totalmem());
    expect(node?.cpu.request_cores).toBeUndefined();

    const gate = join(data, 'gate');
    const script = `#!/bin/sh\nuntil [ -e '${gate}' ]; do sleep 0.05; done\n`;
    await createService(server, 'waits', script, { cpu: '0.3', memory: '64Mi' });
    const token = await tokenOf(server, 'waits');
    await server.request('/job/waits', {
      method: 'POST',
      body: 'x',
      headers: { authorization: `Bearer ${token}` },
    });
    const during = await waitFor('the run to be under way', async () => {
      const now = await status();
      return now.oscar.pods.states['Running'] === 1 ? now : undefined;
    });
    expect(during.cluster.nodes[0]?.cpu.request_cores).toBe(300);
    expect(during.cluster.nodes[0]?.memory.request_bytes).toBe(64 * 2 ** 20);
    await writeFile(gate, '');
    const after = await waitFor('the room to be free', async () => {
      const now = await status();
      return now.cluster.nodes[0]?.cpu.request_cores === undefined ? now : undefined;
    });
    expect(after.oscar.pods.states).toEqual({ Failed: 0, Pending: 0, Running: 0, Succeeded: 1, Unknown: 0 });
    const { logs } = (await json('/system/logs')) as { logs: { path: string; status: number }[] };
    expect(logs).toMatchObject([{ path: '/job/waits', status: 201 }]);
  });
});

describe('a stopped service', () => {
  test('still runs files, and stays stopped over a restart of the server', async () => {
    await createService(server, 'stopped', '#!/bin/sh\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR"\n');
    expect(await (await post('/system/services/stopped/stop')).json()).toMatchObject({ state: 'stopped' });
    await server.stop();
    server = await startServer({ data });
    expect(await json('/system/services/stopped/deployment')).toMatchObject({ state: 'stopped' });
    expect(await json('/system/services/stopped?include=deployment')).toMatchObject({
      deployment: { state: 'stopped' },
    });
    const put = await server.request('/system/buckets/stopped/objects/in/a.txt', {
      method: 'PUT',
      body: 'a',
    });
    expect(put.status).toBe(201);
    await waitFor('the file to be run', async () => {
      const [run] = await runsOf(server, 'stopped');
      return run?.state === 'succeeded' ? run : undefined;
    });
    await access(join(data, 'buckets/stopped/out/a.txt'));
    expect((await post('/system/services/stopped/start')).status).toBe(200);
    expect(await json('/system/services/stopped/deployment')).not.toMatchObject({ state: 'stopped' });
  });
});

describe('the list of allowed images', () => {
  const set = async (list: readonly string[]) =>
    server.request('/system/config', {
      method: 'PUT',
      body: JSON.stringify({ allowed_image_repositories: list }),
    });

  test('outlives the server, killed or not', async () => {
    expect((await set(['ghcr.io/example'])).status).toBe(200);
    await server.stop('SIGKILL');
    server = await startServer({ data });
    expect(await json('/system/config')).toMatchObject({ allowed_image_repositories: ['ghcr.io/example'] });
    await expect(
      createService(server, 'refused', 'true', { image: 'ghcr.io/example-evil/x' }),
    ).rejects.toThrow('image: image ghcr.io/example-evil/x is not allowed for pull on the cluster.');
    await createService(server, 'allowed', 'true', { image: 'ghcr.io/example/x:1' });
    expect((await set([])).status).toBe(200);
  });
});
