import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { createService, small } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

/** Streams as `curl -N` reads them. */
export function describeLiveEvents(world: () => World): void {
  const admin = (): string[] => ['--user', `${world().username}:${world().password}`];

  interface Reading {
    text(): string;
    readonly ended: Promise<number | null>;
    stop(): void;
  }

  function read(path: string, ...args: readonly string[]): Reading {
    const curl = spawn('curl', ['--silent', '--no-buffer', ...admin(), ...args, `${world().url}${path}`]);
    let text = '';
    curl.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    const { promise, resolve } = Promise.withResolvers<number | null>();
    curl.on('close', resolve);
    return { text: () => text, ended: promise, stop: () => curl.kill() };
  }

  test('a run is followed from its upload to its end, its log line by line', async () => {
    const { gate } = world();
    await createService(world(), 'followed', `echo begin\n${gate.wait('followed')}\necho end of it\n`, small);

    const events = read('/system/runs/events?service=followed');
    await waitFor('the stream to open', async () => (events.text().includes('\nid: ') ? true : undefined));
    await world().request('/system/buckets/followed/objects/in/a.txt', { method: 'PUT', body: 'a' });
    const id = await waitFor(
      'the run to be running',
      async () => /"run_id":"([^"]+)","service":"followed","state":"running"/.exec(events.text())?.[1],
    );

    const log = read(`/system/runs/${id}/log`, '--header', 'Accept: text/event-stream');
    await waitFor('the first line', async () => (log.text().includes('data: begin\n') ? true : undefined));
    expect(log.text()).not.toContain('end of it');
    gate.open('followed');
    expect(await log.ended).toBe(0);
    expect(log.text()).toContain('data: end of it\n');
    expect(log.text()).toMatch(
      /event: end\nid: end\ndata: \{"run_id":"[^"]+","service":"followed","state":"succeeded"/,
    );

    const states = await waitFor('the last event', async () => {
      const seen = [...events.text().matchAll(/"state":"(\w+)"/g)].map(([, state]) => state);
      return seen.includes('succeeded') ? seen : undefined;
    });
    expect(states).toEqual(['queued', 'starting', 'running', 'succeeded']);
    events.stop();
    await events.ended;
  });
}
