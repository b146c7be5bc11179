import { cpus, hostname, totalmem } from 'node:os';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeRuntimeRoutes } from './suites/runtime-routes.suite.ts';
import { createService, tokenOf } from './support/service.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';
import { standaloneWorld, type World } from './support/world.ts';

// The machine as a cluster of one node (OSCAR §1.9); what goes for both forms is in the suite.
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

describe('over restarts', () => {
  let world: World;
  beforeAll(async () => {
    world = await standaloneWorld();
  });
  afterAll(() => world.close());

  describeRuntimeRoutes(() => world);
});
