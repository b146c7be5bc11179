import { createOutboxRelay } from '@sluice/shared/bus';
import { systemClock, type Component } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEvents, type ReadEvent } from './event-reader.ts';
import { startFixture, type Fixture } from './fixture.ts';

interface Served {
  readonly api: Fixture;
  readonly relay: Component;
  readonly token: string;
  readonly otherToken: string;
  close(): Promise<void>;
}

/** With the relay that brings changes from the ledger to the bus. */
async function serve(env: Record<string, string> = {}): Promise<Served> {
  const api = await startFixture({ env });
  const relay = createOutboxRelay({
    ledger: api.ledger,
    bus: api.bus,
    clock: systemClock,
    log: silentLogger(),
  });
  await relay.start();
  const token = await api.service('demo');
  const otherToken = await api.service('other');
  return {
    api,
    relay,
    token,
    otherToken,
    close: async () => {
      await relay.stop();
      await api.close();
    },
  };
}

let served: Served;
beforeAll(async () => {
  served = await serve();
});
afterAll(async () => served.close());

const submit = async (to: Served = served, name = 'demo', token = to.token) =>
  String((await to.api.call('POST', `/job/${name}`, { as: token })).headers['x-run-id']);
const states = (events: readonly ReadEvent[]) =>
  events.map(({ data = '{}' }) => {
    const { run_id: id, state } = JSON.parse(data) as { run_id: string; state: string };
    return `${id} ${state}`;
  });
const all = (id: string) => ['queued', 'starting', 'running', 'succeeded'].map((state) => `${id} ${state}`);

describe('GET /system/runs/events', () => {
  test('says each change once and in order, with the headers of a stream', async () => {
    const reader = await openEvents(served.api, '/system/runs/events');
    expect(reader.status).toBe(200);
    expect(reader.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    const id = await submit();
    await served.api.bring(id, 'succeeded');
    const events = await reader.until(4);
    expect(states(events)).toEqual(all(id));
    expect(events.every(({ event }) => event === 'run')).toBe(true);
    expect(JSON.parse(events[3]?.data ?? '')).toEqual({
      run_id: id,
      service: 'demo',
      state: 'succeeded',
      attempt: 1,
      at: expect.stringMatching(/^\d{4}-.*Z$/) as unknown,
      exit_code: 0,
    });
    reader.drop();
  });

  test.each(['header', 'query'])('loses and repeats nothing across a lost connection (%s)', async (how) => {
    const first = await openEvents(served.api, '/system/runs/events');
    const id = await submit();
    await first.until(1);
    first.drop();
    await served.api.bring(id, 'succeeded');
    const second = await openEvents(
      served.api,
      how === 'query'
        ? `/system/runs/events?last_event_id=${first.lastId()}`
        : '/system/runs/events?last_event_id=old',
      how === 'query' ? {} : { headers: { 'last-event-id': first.lastId() } },
    );
    const next = await submit();
    const events = await second.until(4);
    expect([...states(first.said()), ...states(events)]).toEqual([...all(id), `${next} queued`]);
    second.drop();
  });

  test('resumes from the opening of a stream that said nothing', async () => {
    const first = await openEvents(served.api, '/system/runs/events');
    await eventually('a position', () => first.lastId() !== '');
    first.drop();
    const id = await submit();
    const second = await openEvents(served.api, '/system/runs/events', {
      headers: { 'last-event-id': first.lastId() },
    });
    expect(states(await second.until(1))).toEqual([`${id} queued`]);
    second.drop();
  });

  test.each(['0123456789ab.7', 'noise', '9'.repeat(90)])(
    'tells a client with the position %s to list anew, then goes on',
    async (position) => {
      const reader = await openEvents(served.api, '/system/runs/events', {
        headers: { 'last-event-id': position },
      });
      const [reset] = await reader.until(1);
      expect(reset?.event).toBe('reset');
      const id = await submit();
      expect(states((await reader.until(2)).slice(1))).toEqual([`${id} queued`]);
      reader.drop();
    },
  );

  test('filters by service and state', async () => {
    const reader = await openEvents(served.api, '/system/runs/events?service=other&state=starting,succeeded');
    await served.api.bring(await submit(), 'succeeded');
    const id = await submit(served, 'other', served.otherToken);
    await served.api.bring(id, 'succeeded');
    expect(states(await reader.until(2))).toEqual([`${id} starting`, `${id} succeeded`]);
    reader.drop();
  });

  test('shows a service its own runs only', async () => {
    const reader = await openEvents(served.api, '/system/runs/events', { as: served.otherToken });
    await served.api.bring(await submit(), 'succeeded');
    const id = await submit(served, 'other', served.otherToken);
    expect(states(await reader.until(1))).toEqual([`${id} queued`]);
    reader.drop();
    const refused = await served.api.call('GET', '/system/runs/events?service=demo', {
      as: served.otherToken,
    });
    expect([refused.status, refused.json()]).toMatchObject([403, { field: 'service' }]);
  });

  test.each([
    ['/system/runs/events?state=done', 'state'],
    [`/system/runs/events?last_event_id=${'a'.repeat(101)}`, 'last_event_id'],
  ])('refuses %s', async (path, field) => {
    const answer = await served.api.call('GET', path);
    expect([answer.status, answer.json()]).toMatchObject([400, { field }]);
  });

  test('wants a login', async () => {
    expect((await served.api.call('GET', '/system/runs/events', { as: null })).status).toBe(401);
  });
});

describe('GET /system/runs/{id}/events', () => {
  test('says the present state, each change, and ends', async () => {
    const id = await submit();
    const reader = await openEvents(served.api, `/system/runs/${id}/events`);
    await reader.until(1);
    await served.api.bring(id, 'succeeded');
    const events = await reader.until(5);
    expect(states(events)).toEqual([...all(id), `${id} succeeded`]);
    expect(events.at(-1)).toMatchObject({ event: 'end', id: 'end' });
    await eventually('the end', () => reader.ended());
    const again = await openEvents(served.api, `/system/runs/${id}/events`, {
      headers: { 'last-event-id': reader.lastId() },
    });
    expect(again.status).toBe(204);
  });

  test('of a run that has ended is its state and the end; of one that is not the caller’s 404', async () => {
    const id = await submit();
    await served.api.bring(id, 'failed');
    const reader = await openEvents(served.api, `/system/runs/${id}/events`);
    expect(states(await reader.until(2))).toEqual([`${id} failed`, `${id} failed`]);
    await eventually('the end', () => reader.ended());
    const foreign = await served.api.call('GET', `/system/runs/${id}/events`, { as: served.otherToken });
    expect(foreign.status).toBe(404);
  });

  test('resumes where the connection was lost', async () => {
    const id = await submit();
    const first = await openEvents(served.api, `/system/runs/${id}/events`);
    await first.until(1);
    first.drop();
    await served.api.bring(id, 'running');
    const second = await openEvents(served.api, `/system/runs/${id}/events`, {
      headers: { 'last-event-id': first.lastId() },
    });
    const later = await second.until(2);
    expect(new Set([...states(first.said()), ...states(later)])).toEqual(new Set(all(id).slice(0, 3)));
    second.drop();
  });
});

describe('streams', () => {
  test('say that they are alive more often than a connection may be silent', async () => {
    const quick = await serve({ WRITE_TIMEOUT: '1' });
    try {
      const reader = await openEvents(quick.api, '/system/runs/events');
      const id = await submit(quick);
      const one = await openEvents(quick.api, `/system/runs/${id}/events`);
      const log = await openEvents(quick.api, `/system/runs/${id}/log?follow=true`);
      for (const stream of [reader, one, log]) {
        await eventually(
          'heartbeats',
          () => stream.seen.filter(({ comment }) => comment !== undefined).length >= 5,
        );
        expect(stream.ended()).toBe(false);
        stream.drop();
      }
    } finally {
      await quick.close();
    }
  });

  test('are bounded for one caller and for all', async () => {
    const small = await serve({ SLUICE_STREAMS: '3', SLUICE_STREAMS_PER_CALLER: '2' });
    const refusal = async (as?: string) => {
      const answer = await small.api.call('GET', '/system/runs/events', as === undefined ? {} : { as });
      return [answer.status, answer.headers['retry-after']];
    };
    try {
      const readers = [
        await openEvents(small.api, '/system/runs/events'),
        await openEvents(small.api, '/system/runs/events'),
      ];
      expect(await refusal()).toEqual([429, '5']);
      readers.push(await openEvents(small.api, '/system/runs/events', { as: small.token }));
      expect(await refusal(small.otherToken)).toEqual([503, '5']);
      readers[0]?.drop();
      const freed = await eventually('a free place', async () => {
        const reader = await openEvents(small.api, '/system/runs/events');
        return reader.status === 200 && reader;
      });
      expect(freed.status).toBe(200);
    } finally {
      await small.close();
    }
  });

  test('end at once when the server stops, those that nobody reads as well', async () => {
    const stopped = await serve();
    const id = await submit(stopped);
    const log = await stopped.api.logs.open({ service: 'demo', runId: id });
    await log.write(Buffer.from(`${'x'.repeat(99)}\n`.repeat(80_000)));
    const slow = await openEvents(stopped.api, `/system/runs/${id}/log?follow=true`);
    slow.pause();
    const readers = await Promise.all(
      ['/system/runs/events', `/system/runs/${id}/events`, '/system/runs/events'].map(async (path) =>
        openEvents(stopped.api, path),
      ),
    );
    const begin = performance.now();
    await stopped.api.api.stop();
    expect(performance.now() - begin).toBeLessThan(5000);
    await eventually('all ended', () => readers.every((reader) => reader.ended()));
    slow.drop();
    await log.close();
    await stopped.close();
  });
});
