import { request } from 'node:http';
import Fastify from 'fastify';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually, fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { createEventStreams } from '../../src/http/event-streams.ts';

test('a reader that takes nothing is cut, and no more than a little is kept for it', async () => {
  const clock = fakeClock();
  const streams = createEventStreams({
    limits: { streams: 10, streamsPerCaller: 10, idleTimeoutMs: 300_000 },
    clock,
    log: silentLogger(),
  });
  let made = 0;
  let returned = false;
  const app = Fastify();
  app.decorateRequest('principal', undefined);
  app.get('/', (call, reply) => {
    call.principal = { kind: 'admin', name: 'oscar' };
    return streams.send(call, reply, async function* endless() {
      try {
        for (;;) {
          made += 1;
          yield `data: ${'x'.repeat(100_000)}\n\n`;
        }
      } finally {
        returned = true;
      }
    });
  });
  const url = await app.listen({ port: 0 });
  let closed = false;
  const call = request(url, (response) => {
    response
      .on('error', () => undefined)
      .on('close', () => {
        closed = true;
      });
    // Read by nobody from here on.
    response.pause();
  });
  call.on('error', () => undefined);
  call.end();
  try {
    let before = -1;
    await eventually('the server to wait for the reader', async () => {
      const still = made > 0 && made === before && clock.sleepers() === 1;
      before = made;
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      return still;
    });
    // What the kernel takes for a connection is megabytes, never all of it.
    expect(made).toBeLessThan(400);
    clock.advance(29_000);
    expect(returned).toBe(false);
    clock.advance(1001);
    await eventually('the stream to end', () => returned);
    call.destroy();
    await eventually('the connection to end', () => closed);
  } finally {
    call.destroy();
    await app.close();
  }
});
