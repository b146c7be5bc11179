import { Secret } from '@sluice/shared/config';
import { AppError } from '@sluice/shared/errors';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createWebhook, type Webhook, type WebhookDeps } from '../../src/http/webhook.ts';
import { openWorld, type World } from '../support/world.ts';

let world: World;
let webhook: Webhook | undefined;

beforeEach(async () => {
  world = await openWorld();
});
afterEach(async () => {
  await webhook?.stop();
  webhook = undefined;
  await world.close();
});

const token = 'a-token-of-this-test';

async function open(bus: WebhookDeps['bus'] = world.bus): Promise<string> {
  webhook = createWebhook({ bus, token: new Secret(token), host: '127.0.0.1', port: 0, log: silentLogger() });
  await webhook.start();
  return `http://127.0.0.1:${webhook.port()}/notify`;
}

async function post(url: string, body: string, authorization = `Bearer ${token}`): Promise<Response> {
  return fetch(url, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body });
}

async function received(): Promise<unknown[]> {
  const payloads: unknown[] = [];
  await world.bus.subscribe(
    { durable: 'storage-events-test', names: ['storage.notify'], maxInFlight: 8 },
    async ({ message }) => void payloads.push(message.payload),
  );
  return payloads;
}

test('a notification is a message once, however often it is sent', async () => {
  const url = await open();
  const body = { EventName: 's3:ObjectCreated:Put', Key: 'b/k', Records: [{ at: 1 }] };
  for (let time = 0; time < 3; time += 1) {
    expect((await post(url, JSON.stringify(body))).status).toBe(204);
  }
  expect((await post(url, JSON.stringify({ Records: [] }))).status).toBe(204);
  expect((await post(url, JSON.stringify({ Event: 's3:TestEvent' }))).status).toBe(204);
  const payloads = await received();
  await eventually('three messages', async () => payloads.length === 3);
  expect(payloads).toContainEqual(body);
});

test('somebody who looks whether it is there gets an answer', async () => {
  const url = await open();
  expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
  expect((await fetch(url)).status).toBe(200);
  expect((await fetch(`${url}/else`)).status).toBe(404);
  await expect(webhook?.check?.()).resolves.toBeUndefined();
});

test.each([
  ['no token', '', 401, 'SLUICE_WEBHOOK_TOKEN'],
  ['another token', 'Bearer wrong', 401, 'SLUICE_WEBHOOK_TOKEN'],
  ['another scheme', `Basic ${token}`, 401, 'SLUICE_WEBHOOK_TOKEN'],
])('%s is refused', async (_, authorization, status, text) => {
  const answer = await post(await open(), '{"Records":[]}', authorization);
  expect(answer.status).toBe(status);
  expect(await answer.text()).toContain(text);
});

test.each([
  ['no JSON', '{', 400, 'not JSON'],
  ['nothing', '', 400, 'not JSON'],
  ['a list', '[]', 400, 'JSON object'],
  ['something else', '{"a":1}', 400, 'Records'],
  ['SNS', '{"Type":"Notification","TopicArn":"arn:aws:sns:x","Message":"{}"}', 400, 'SNS'],
  ['EventBridge', '{"detail-type":"Object Created","detail":{}}', 400, 'EventBridge'],
  ['too much', JSON.stringify({ Records: ['x'.repeat(1024 * 1024)] }), 413, '1048576 bytes'],
])('%s is refused with a sentence', async (_, body, status, text) => {
  const answer = await post(await open(), body);
  expect(answer.status).toBe(status);
  expect(await answer.text()).toContain(text);
});

test('while the bus is away the sender is told to come again', async () => {
  const bus = {
    ...world.bus,
    publish: async () => {
      throw new AppError('unavailable', 'The bus is away.');
    },
  };
  const answer = await post(await open(bus), '{"Records":[]}');
  expect(answer.status).toBe(503);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await answer.text()).toContain('away');
});
