import { request, type IncomingMessage } from 'node:http';
import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEvents } from './event-reader.ts';
import { adminHeader, startFixture, type Fixture } from './fixture.ts';
import { memoryDesk, type MemoryDesk } from './memory-desk.ts';

let api: Fixture;
let desk: MemoryDesk;
beforeAll(async () => {
  desk = memoryDesk();
  api = await startFixture({ deps: () => ({ builds: desk }), env: { SLUICE_STREAMS_PER_CALLER: '3' } });
});
afterAll(async () => api.close());

const stamp = '2026-01-02T03:04:07.101Z';
const pathOf = (id: string, query = '') => `/system/builds/${id}/logs${query}`;
const sse = { accept: 'text/event-stream' };

function running(): string {
  return desk.put({ user: 'oscar', state: 'running' }).id;
}

/** Reads objects of an NDJSON answer as they come. */
async function openLines(path: string): Promise<{
  readonly response: IncomingMessage;
  /** Those that say something. */
  readonly seen: Record<string, unknown>[];
  alive(): boolean;
  ended(): boolean;
}> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = { authorization: adminHeader };
  request({ port: api.api.address().port, path, agent: false, headers })
    .on('response', resolve)
    .on('error', reject)
    .end();
  const response = await promise;
  const seen: Record<string, unknown>[] = [];
  let rest = '';
  let alive = false;
  let ended = false;
  response.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    const objects = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    alive ||= objects.some(({ event }) => event === 'alive');
    seen.push(...objects.filter(({ event }) => event !== 'alive'));
  });
  response.on('close', () => {
    ended = true;
  });
  return { response, seen, alive: () => alive, ended: () => ended };
}

describe('the log of a build as NDJSON', () => {
  test('is what there is now, from any line on, and the end where it has ended', async () => {
    const id = running();
    desk.log(id, `${stamp} eins äöü\n${stamp} two\n${stamp} half`);
    const first = await api.call('GET', pathOf(id));
    expect(first.headers['content-type']).toBe('application/x-ndjson');
    const [one, two, ...more] = first.text.trimEnd().split('\n');
    expect(JSON.parse(one ?? '')).toEqual({ offset: 37, time: stamp, line: 'eins äöü' });
    expect(JSON.parse(two ?? '')).toEqual({ offset: 66, time: stamp, line: 'two' });
    expect(more).toEqual([]);
    desk.log(id, ' line\n', true);
    desk.change(id, { state: 'succeeded', digest: 'sha256:1' });
    const rest = (await api.call('GET', pathOf(id, '?offset=66'))).text.trimEnd().split('\n');
    expect(rest.map((line) => JSON.parse(line) as unknown)).toEqual([
      { offset: 101, time: stamp, line: 'half line' },
      { event: 'end', id, state: 'succeeded', image: 'registry:5000/oscar:numpy', digest: 'sha256:1' },
    ]);
    const past = await api.call('GET', pathOf(id, '?offset=1000'));
    expect(JSON.parse(past.text)).toMatchObject({ event: 'end' });
  });

  test('from the middle of a line has no time there', async () => {
    const id = running();
    desk.log(id, `${stamp} one\n`);
    const answer = await api.call('GET', pathOf(id, '?offset=25'));
    expect(JSON.parse(answer.text)).toEqual({ offset: 29, line: 'one' });
  });

  test('follows a build that waits, runs and fails', async () => {
    const { id } = desk.put({ user: 'oscar' });
    const reader = await openLines(pathOf(id, '?follow=true'));
    expect(reader.response.statusCode).toBe(200);
    await eventually('a sign of life', () => reader.alive());
    desk.change(id, { state: 'running' });
    desk.log(id, `${stamp} one\n`);
    await eventually('a line', () => reader.seen.length === 1);
    desk.log(id, `${stamp} no end`, true);
    desk.change(id, { state: 'failed', code: 'requirements_failed', message: 'pip failed' });
    await eventually('the end', () => reader.ended(), 10_000);
    expect(reader.seen).toMatchObject([
      { line: 'one' },
      { line: 'no end' },
      { event: 'end', state: 'failed', code: 'requirements_failed', message: 'pip failed' },
    ]);
  });

  test('of a build without a log is its end', async () => {
    const { id } = desk.put({ user: 'oscar', state: 'succeeded', reused: true });
    const reader = await openLines(pathOf(id, '?follow=true'));
    await eventually('the end', () => reader.ended());
    expect(reader.seen).toMatchObject([{ event: 'end', state: 'succeeded' }]);
  });

  test('of a ticket that was cancelled ends though its build goes on', async () => {
    const id = running();
    desk.log(id, `${stamp} one\n`);
    const reader = await openLines(pathOf(id, '?follow=true'));
    await eventually('a line', () => reader.seen.length === 1);
    desk.change(id, { state: 'cancelled' });
    await eventually('the end', () => reader.ended(), 10_000);
    expect(reader.seen.at(-1)).toMatchObject({ event: 'end', state: 'cancelled' });
  });

  test('of a build that is forgotten breaks off without an end', async () => {
    const id = running();
    const reader = await openLines(pathOf(id, '?follow=true'));
    desk.remove(id);
    await eventually('the end', () => reader.ended(), 10_000);
    expect(reader.seen).toEqual([]);
  });
});

describe('the log of a build as server-sent events', () => {
  test('says lines while they are written, then the final state, and goes on where it was lost', async () => {
    const id = running();
    const reader = await openEvents(api, pathOf(id), { headers: sse });
    expect(reader.headers['content-type']).toBe('text/event-stream');
    desk.log(id, `${stamp} one\n${stamp} two`);
    expect((await reader.until(1))[0]).toMatchObject({ id: '29', data: 'one' });
    reader.drop();
    desk.log(id, ' halves\n', true);
    desk.change(id, { state: 'succeeded' });
    const again = await openEvents(api, pathOf(id, '?timestamps=true'), {
      headers: { ...sse, 'last-event-id': reader.lastId() },
    });
    const [line, end] = await again.until(2);
    expect(line?.data).toBe(`${stamp} two halves`);
    expect(end).toMatchObject({ event: 'end', id: 'end' });
    expect(JSON.parse(end?.data ?? '')).toEqual({
      id,
      state: 'succeeded',
      image: 'registry:5000/oscar:numpy',
    });
    await eventually('the end', () => again.ended());
    const last = await openEvents(api, pathOf(id), { headers: { ...sse, 'last-event-id': 'end' } });
    expect(last.status).toBe(204);
  });

  test('does not follow where that is not wanted; a position that is none is refused', async () => {
    const id = running();
    desk.log(id, `${stamp} one\n`);
    const reader = await openEvents(api, pathOf(id, '?follow=false'), { headers: sse });
    await eventually('the end', () => reader.ended());
    expect(reader.said()).toMatchObject([{ data: 'one' }]);
    const answer = await api.call('GET', pathOf(id), { headers: { ...sse, 'last-event-id': 'x' } });
    expect([answer.status, answer.json()]).toMatchObject([400, { field: 'Last-Event-ID' }]);
  });

  test('counts among the streams of its caller', async () => {
    const id = running();
    const open = await Promise.all([1, 2, 3].map(async () => openEvents(api, pathOf(id), { headers: sse })));
    const refused = await api.call('GET', pathOf(id, '?follow=true'));
    expect([refused.status, refused.headers['retry-after']]).toEqual([429, '5']);
    const other = desk.put({ user: 'anna', state: 'succeeded' }).id;
    const anna = { authorization: 'anna-uuid:anna-key' };
    expect((await api.call('GET', pathOf(other), { as: null, headers: anna })).status).toBe(200);
    for (const reader of open) reader.drop();
    await eventually('room', async () => (await api.call('GET', pathOf(id))).status === 200);
  });
});
