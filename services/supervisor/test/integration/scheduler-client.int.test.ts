import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isAppError, type AppError } from '@sluice/shared/errors';
import { expect, it, onTestFinished } from 'vitest';
import { createSchedulerClient, type SchedulerClient } from '../../src/adapters/scheduler-client.ts';

const runner = {
  kind: 'runner',
  pod: 'pod-1',
  runnerId: 'r-1',
  service: 'demo',
  serviceUid: 'uid',
  serviceVersion: 3,
} as const;
const storage = {
  endpoint: 'http://s3',
  region: 'eu',
  access_key: 'a',
  secret_key: 'b',
  verify: true,
};

async function clientOf(answer: RequestListener): Promise<SchedulerClient> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = createSchedulerClient({
    url: new URL(`http://127.0.0.1:${port}/base/`),
    token: 'the-token',
    self: runner,
  });
  onTestFinished(async () => {
    client.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return client;
}

async function failure(work: Promise<unknown>): Promise<AppError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (isAppError(error)) return error;
  throw new Error('it did not fail as it should', { cause: error });
}

it('says which runner asks, and shows its token', async () => {
  let seen: unknown;
  const client = await clientOf((request, response) => {
    request.on('data', (body: Buffer) => {
      const { url, method, headers } = request;
      seen = {
        url,
        method,
        authorization: headers.authorization,
        body: JSON.parse(body.toString()) as unknown,
      };
      response.end(JSON.stringify(storage));
    });
  });
  expect(await client.storage()).toEqual(storage);
  expect(seen).toEqual({
    url: '/base/v1/runners/r-1/storage',
    method: 'POST',
    authorization: 'Bearer the-token',
    body: { pod: 'pod-1', service: 'demo', service_uid: 'uid', service_version: 3 },
  });
});

it.each([
  [401, 'unauthenticated', 'never'],
  [403, 'forbidden', 'never'],
  [409, 'conflict', 'never'],
  [429, 'unavailable', 'later'],
  [500, 'unavailable', 'later'],
  [503, 'unavailable', 'later'],
])('takes %i for %s', async (status, code, retry) => {
  const client = await clientOf((_request, response) => response.writeHead(status).end('not told'));
  expect(await failure(client.storage())).toMatchObject({ code, retry });
});

it('takes a lost connection, also in the middle of an answer, for something that passes', async () => {
  const cut = await clientOf((request) => request.socket.destroy());
  expect(await failure(cut.storage())).toMatchObject({ code: 'unavailable', retry: 'later' });
  const half = await clientOf((_request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{"endpoint"', () => response.destroy());
  });
  expect(await failure(half.storage())).toMatchObject({ code: 'unavailable', retry: 'later' });
});

it('takes no answer of another form, nor one of any size', async () => {
  const odd = await clientOf((_request, response) => response.end('{"endpoint":1}'));
  expect(await failure(odd.storage())).toMatchObject({ retry: 'never' });
  const huge = await clientOf((_request, response) => {
    response.on('error', () => undefined);
    response.writeHead(200, { 'content-length': 2 ** 30 }).write('x');
  });
  expect(await failure(huge.storage())).toMatchObject({ retry: 'never' });
});
