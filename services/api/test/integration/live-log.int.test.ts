import { createOutboxRelay } from '@sluice/shared/bus';
import { systemClock, type Component } from '@sluice/shared/lifecycle';
import type { RunLogWriter } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEvents, type ReadEvent } from './event-reader.ts';
import { startFixture, type Fixture } from './fixture.ts';

let api: Fixture;
let relay: Component;
let token: string;
beforeAll(async () => {
  api = await startFixture();
  relay = createOutboxRelay({ ledger: api.ledger, bus: api.bus, clock: systemClock, log: silentLogger() });
  await relay.start();
  token = await api.service('demo');
});
afterAll(async () => {
  await relay.stop();
  await api.close();
});

async function running(): Promise<{
  readonly id: string;
  readonly log: RunLogWriter;
  readonly path: string;
}> {
  const id = String((await api.call('POST', '/job/demo', { as: token })).headers['x-run-id']);
  await api.bring(id, 'running');
  const log = await api.logs.open({ service: 'demo', runId: id });
  return { id, log, path: `/system/runs/${id}/log` };
}

async function succeed(id: string): Promise<void> {
  await api.ledger.transition({ id, from: ['running'], to: 'succeeded', set: { exit_code: 0 } });
}

const lines = (events: readonly ReadEvent[]) => events.map(({ data }) => data);

describe('GET /system/runs/{id}/log as a stream', () => {
  test('says lines while they are written, then the final state', async () => {
    const { id, log, path } = await running();
    const reader = await openEvents(api, path, { headers: { accept: 'text/event-stream' } });
    expect(reader.headers['content-type']).toBe('text/event-stream');
    await log.write(Buffer.from('one\ntwo'));
    expect(lines(await reader.until(1))).toEqual(['one']);
    await log.write(Buffer.from(' halves\n10 %\r20 %\n\n'));
    expect(lines(await reader.until(4))).toEqual(['one', 'two halves', '10 %\n20 %', '']);
    await log.write(Buffer.from('no end'));
    await log.close();
    await succeed(id);
    const events = await reader.until(6);
    expect(events[4]?.data).toBe('no end');
    expect(events[5]).toMatchObject({ event: 'end', id: 'end' });
    expect(JSON.parse(events[5]?.data ?? '')).toMatchObject({ run_id: id, state: 'succeeded', exit_code: 0 });
    await eventually('the end', () => reader.ended());
    const again = await openEvents(api, `${path}?follow=true`, { headers: { 'last-event-id': 'end' } });
    expect(again.status).toBe(204);
  });

  test('goes on at the byte where the connection was lost', async () => {
    const { id, log, path } = await running();
    const all = Array.from({ length: 500 }, (_, index) => `Zeile ${index} äöü`);
    await log.write(
      Buffer.from(
        all
          .slice(0, 200)
          .map((line) => `${line}\n`)
          .join(''),
      ),
    );
    const first = await openEvents(api, `${path}?follow=1`);
    await first.until(100);
    first.drop();
    await log.write(
      Buffer.from(
        all
          .slice(200)
          .map((line) => `${line}\n`)
          .join(''),
      ),
    );
    await log.close();
    await succeed(id);
    const seen = first.said();
    const second = await openEvents(api, `${path}?follow=1`, {
      headers: { 'last-event-id': first.lastId() },
    });
    const rest = await second.until(501 - seen.length);
    expect([...lines(seen), ...lines(rest).slice(0, -1)]).toEqual(all);
  });

  test('shows the times where they are wanted', async () => {
    const { id, log, path } = await running();
    await log.write(Buffer.from('hello\n'));
    await log.close();
    await succeed(id);
    const reader = await openEvents(api, `${path}?follow=true&timestamps=true`);
    const [line] = await reader.until(2);
    expect(line?.data).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z hello$/);
  });

  test('brings a very long line in pieces, cut between characters', async () => {
    const { id, log, path } = await running();
    const text = 'ä€😀'.repeat(50_000);
    await log.write(Buffer.from(text));
    await log.close();
    await succeed(id);
    const reader = await openEvents(api, `${path}?follow=true`);
    await eventually('the end', () => reader.ended());
    const pieces = reader.said().slice(0, -1);
    expect(pieces.length).toBeGreaterThan(2);
    expect(lines(pieces).join('')).toBe(text);
  });

  test('of a run without a log is its end', async () => {
    const id = String((await api.call('POST', '/job/demo', { as: token })).headers['x-run-id']);
    await api.bring(id, 'cancelled');
    const reader = await openEvents(api, `/system/runs/${id}/log?follow=true`);
    const [end] = await reader.until(1);
    expect(end?.event).toBe('end');
  });

  test('refuses a position that is none; plain text stays what it was', async () => {
    const { log, path } = await running();
    await log.write(Buffer.from('hello\n'));
    await log.close();
    const answer = await api.call('GET', `${path}?follow=true`, { headers: { 'last-event-id': 'x' } });
    expect([answer.status, answer.json()]).toMatchObject([400, { field: 'Last-Event-ID' }]);
    expect((await api.call('GET', path)).text).toBe('hello\n');
    const plain = await api.call('GET', `${path}?follow=false`, { headers: { accept: 'text/event-stream' } });
    expect(plain.text).toBe('hello\n');
  });
});
