import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { waitFor } from './support/wait.ts';

// Streams as `curl -N` reads them, from the whole server.
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

const admin = (): string[] => ['--user', `${server.username}:${server.password}`];

interface Reading {
  text(): string;
  readonly ended: Promise<number | null>;
  stop(): void;
}

function read(path: string, ...args: readonly string[]): Reading {
  const curl = spawn('curl', ['--silent', '--no-buffer', ...admin(), ...args, `${server.url}${path}`]);
  let text = '';
  curl.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  const { promise, resolve } = Promise.withResolvers<number | null>();
  curl.on('close', resolve);
  return { text: () => text, ended: promise, stop: () => curl.kill() };
}

const script = '#!/bin/sh\necho begin\nwhile [ ! -e "$GATE" ]; do sleep 0.05; done\necho end of it\n';

test('a run is followed from its upload to its end, its log line by line', async () => {
  const gate = `${data}/gate`;
  const definition = {
    name: 'demo',
    image: 'example/demo',
    script,
    input: [{ storage_provider: 'minio.default', path: 'demo/in' }],
    environment: { variables: { GATE: gate } },
  };
  const created = await server.request('/system/services', {
    method: 'POST',
    body: JSON.stringify(definition),
  });
  expect(created.status).toBe(201);

  const events = read('/system/runs/events?service=demo');
  await waitFor('the stream to open', async () => (events.text().includes('\nid: ') ? true : undefined));
  await server.request('/system/buckets/demo/objects/in/a.txt', { method: 'PUT', body: 'a' });
  const id = await waitFor(
    'the run to be running',
    async () => /"run_id":"([^"]+)","service":"demo","state":"running"/.exec(events.text())?.[1],
  );

  const log = read(`/system/runs/${id}/log`, '--header', 'Accept: text/event-stream');
  await waitFor('the first line', async () => (log.text().includes('data: begin\n') ? true : undefined));
  expect(log.text()).not.toContain('end of it');
  await writeFile(gate, '');
  expect(await log.ended).toBe(0);
  expect(log.text()).toContain('data: end of it\n');
  expect(log.text()).toMatch(
    /event: end\nid: end\ndata: \{"run_id":"[^"]+","service":"demo","state":"succeeded"/,
  );

  const states = await waitFor('the last event', async () => {
    const seen = [...events.text().matchAll(/"state":"(\w+)"/g)].map(([, state]) => state);
    return seen.includes('succeeded') ? seen : undefined;
  });
  expect(states).toEqual(['queued', 'starting', 'running', 'succeeded']);
  events.stop();
  await events.ended;
});

test('a server that stops ends its streams at once', async () => {
  const folder = await tempFolder();
  const other = await startServer({ data: folder });
  const login = ['--user', `${other.username}:${other.password}`];
  const curl = spawn('curl', ['--silent', '--no-buffer', ...login, `${other.url}/system/runs/events`]);
  let text = '';
  curl.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  const ended = Promise.withResolvers<number | null>();
  curl.on('close', ended.resolve);
  await waitFor('the stream to open', async () => (text.includes('\nid: ') ? true : undefined));
  const begin = performance.now();
  const done = await other.stop();
  expect(done.code).toBe(0);
  expect(performance.now() - begin).toBeLessThan(3000);
  expect(await ended.promise).toBe(0);
  await removeFolder(folder);
});
