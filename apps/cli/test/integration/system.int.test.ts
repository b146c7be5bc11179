import { afterEach, describe, expect, it } from 'vitest';
import { json, sluice, startServer, text, type Answer, type FakeServer } from './helpers.ts';

const servers: FakeServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(answer: Answer): Promise<FakeServer> {
  const server = await startServer(answer);
  servers.push(server);
  return server;
}

const cli = (server: FakeServer, ...args: string[]) => sluice([...args, '--url', server.url]);

describe('dead-letter', () => {
  const letters = [1, 2, 3].map((id) => ({
    id: `d${id}`,
    name: 'runs.start',
    reason: 'no\nsuch service',
    attempts: 5,
    dead_at: new Date().toISOString(),
  }));

  async function serveLetters(): Promise<FakeServer> {
    return await serve(({ method, url }, response) => {
      const id = /dead-letters\/([^/]+)/.exec(url)?.[1];
      if (method === 'DELETE') response.writeHead(204).end();
      else if (method === 'POST' && id === 'gone') text(response, '', 404);
      else if (method === 'POST') json(response, { message_id: `again-${id ?? ''}` }, 202);
      else if (url.includes('cursor=x')) json(response, { dead_letters: letters.slice(2) });
      else json(response, { dead_letters: letters.slice(0, 2), next: 'x' });
    });
  }

  it('list goes through the pages', async () => {
    const server = await serveLetters();
    const { stdout } = await cli(server, 'dead-letter', 'list');
    expect(stdout.split('\n')).toHaveLength(5);
    expect(stdout).toContain(String.raw`runs.start  -    5         no\nsuch service`);
    expect(JSON.parse((await cli(server, 'dead-letter', 'list', '--json')).stdout)).toEqual({
      dead_letters: letters,
    });
  });

  it('show finds one on a later page', async () => {
    const server = await serveLetters();
    expect(JSON.parse((await cli(server, 'dead-letter', 'show', 'd3')).stdout)).toEqual(letters[2]);
    expect((await cli(server, 'dead-letter', 'show', 'd4')).code).toBe(3);
  });

  it('redrive and delete take ids, or all', async () => {
    const server = await serveLetters();
    expect(JSON.parse((await cli(server, 'dead-letter', 'redrive', '--all', '--json')).stdout)).toEqual({
      redriven: letters.map(({ id }) => ({ id, message_id: `again-${id}` })),
    });
    expect((await cli(server, 'dead-letter', 'redrive', 'gone')).code).toBe(3);
    expect((await cli(server, 'dead-letter', 'redrive')).code).toBe(2);
    expect((await cli(server, 'dead-letter', 'redrive', 'd1', '--all')).code).toBe(2);
    expect((await cli(server, 'dead-letter', 'delete', 'd1')).code).toBe(2);
    expect((await cli(server, 'dead-letter', 'delete', 'd1', '-y')).stderr).toBe('deleted d1\n');
  });
});

describe('service', () => {
  const demo = {
    name: 'demo',
    cpu: '0.2',
    memory: '256Mi',
    image: 'i',
    script: '#!/bin/sh\ntrue\n',
    token: 'the-token',
    enable_gpu: false,
    input: [{ storage_provider: 'minio.default', path: 'demo/in' }],
    output: null,
    environment: { variables: { A: '1' }, secrets: { KEY: '' } },
  };

  it('list is a table, or the server’s list', async () => {
    const server = await serve((_, response) => {
      json(response, [demo]);
    });
    expect((await cli(server, 'service', 'list')).stdout).toBe(
      'SERVICE  CPU  MEMORY  INPUT    OUTPUT  IMAGE\ndemo     0.2  256Mi   demo/in  -       i\n',
    );
    expect(JSON.parse((await cli(server, 'service', 'list', '--json')).stdout)).toEqual([demo]);
  });

  it('show keeps token and script to themselves until they are asked for', async () => {
    const server = await serve((_, response) => {
      json(response, demo);
    });
    const { stdout } = await cli(server, 'service', 'show', 'demo');
    expect(stdout).not.toContain('the-token');
    expect(stdout).toContain('script                     2 lines (--script prints it)');
    expect(stdout).toContain('environment.secrets.KEY    (secret)');
    expect((await cli(server, 'service', 'show', 'demo', '--token')).stdout).toBe('the-token\n');
    expect((await cli(server, 'service', 'show', 'demo', '--script')).stdout).toBe(demo.script);
  });

  it('delete keeps the buckets when told so, and looks for every service first', async () => {
    const server = await serve(({ method, url }, response) => {
      if (method === 'DELETE') response.writeHead(204).end();
      else if (url.endsWith('/demo')) json(response, demo);
      else response.writeHead(404).end();
    });
    expect((await cli(server, 'service', 'delete', 'demo', 'missing', '--yes')).code).toBe(3);
    expect((await cli(server, 'service', 'delete', 'demo', '--yes', '--keep-buckets')).code).toBe(0);
    expect(server.calls().filter((call) => call.startsWith('DELETE'))).toEqual([
      'DELETE /system/services/demo?keep_buckets=true',
    ]);
  });
});

it('backfill sends what it was told, and prints the id', async () => {
  const server = await serve((_, response) => {
    json(response, { backfill_id: 'bf-1' }, 202);
  });
  expect((await cli(server, 'backfill', 'demo', '--prefix', 'b/in/old', '--again')).stdout).toBe('bf-1\n');
  expect(server.seen[0]).toMatchObject({ method: 'POST', url: '/system/services/demo/backfill' });
  expect(JSON.parse(server.seen[0]?.body.toString() ?? '')).toEqual({ prefix: 'b/in/old', again: true });
});

it('status is one screen', async () => {
  const server = await serve((_, response) => {
    json(response, {
      version: '1.2.3',
      services: 2,
      runs: { queued: 0, failed: 3, succeeded: 4 },
      dead_letters: 1,
      slots: { used: 1, limit: 8 },
      buckets_path: '/data/buckets',
      adapters: { bus: { adapter: 'SQLite', chosen_by: 'NATS_URL is not set' } },
    });
  });
  expect((await cli(server, 'status')).stdout).toBe(
    [
      `server        ${server.url} (version 1.2.3)`,
      'services      2',
      'runs          3 failed, 4 succeeded',
      'slots         1 of 8 in use',
      'dead letters  1 (sluice dead-letter list)',
      'buckets       /data/buckets',
      'bus           SQLite (NATS_URL is not set)',
      '',
    ].join('\n'),
  );
});
