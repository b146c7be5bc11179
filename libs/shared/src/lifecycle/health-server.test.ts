import { afterEach, expect, it } from 'vitest';
import { AppError } from '../errors/index.ts';
import { createMetrics, createLogger, Gauge } from '../telemetry/index.ts';
import { createHealthServer, type HealthServer } from './health-server.ts';

let server: HealthServer | undefined;
afterEach(async () => {
  await server?.stop();
});

async function started(check: () => Promise<void>): Promise<string> {
  const metrics = createMetrics();
  new Gauge({ name: 'sluice_example', help: 'An example.', registers: [metrics] }).set(7);
  server = createHealthServer({
    host: '127.0.0.1',
    port: 0,
    check,
    metrics,
    log: createLogger({ name: 'test', level: 'silent' }),
  });
  await server.start();
  return `http://127.0.0.1:${server.port()}`;
}

const get = async (url: string): Promise<{ status: number; body: string }> => {
  const response = await fetch(url);
  return { status: response.status, body: await response.text() };
};

it('is ready while the check resolves, and says why it is not', async () => {
  let reason: string | undefined;
  const url = await started(async () => {
    if (reason !== undefined) throw new AppError('unavailable', reason);
  });
  expect(await get(`${url}/health/ready`)).toEqual({ status: 200, body: '{"ready":true}\n' });
  reason = 'The bus is away.';
  expect(await get(`${url}/health/ready?verbose`)).toEqual({
    status: 503,
    body: '{"ready":false,"reason":"The bus is away."}\n',
  });
  expect((await get(`${url}/health/live`)).status).toBe(200);
});

it('is alive and not ready while it stops', async () => {
  const url = await started(async () => {});
  server?.drain();
  expect(await get(`${url}/health/ready`)).toEqual({
    status: 503,
    body: '{"ready":false,"reason":"stopping"}\n',
  });
  expect((await get(`${url}/health/live`)).status).toBe(200);
});

it('answers within seconds where the check hangs', async () => {
  const url = await started(() => new Promise(() => undefined));
  const { status, body } = await get(`${url}/health/ready`);
  expect([status, body]).toEqual([503, expect.stringContaining('did not answer within 2000 ms')]);
});

it('gives the metrics, and says what there is elsewhere', async () => {
  const url = await started(async () => {});
  expect((await get(`${url}/metrics`)).body).toContain('sluice_example 7');
  expect(await get(`${url}/`)).toMatchObject({ status: 404, body: expect.stringContaining('/metrics') });
});

it('says which port is taken', async () => {
  const url = await started(async () => {});
  const second = createHealthServer({
    host: '127.0.0.1',
    port: Number(new URL(url).port),
    check: async () => {},
    metrics: createMetrics(),
    log: createLogger({ name: 'test', level: 'silent' }),
  });
  await expect(second.start()).rejects.toThrow('Set SLUICE_HEALTH_PORT');
});
