import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { needed, removeStored } from './support/distributed.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';
import { firstSteps } from './support/smoke.ts';

/* One process whose messages, definitions and ledger are on servers: each adapter is chosen by its own variable. */

const namespace = `t${randomBytes(5).toString('hex')}`;
let data: string;
let server: Server;
const start = (): Promise<Server> =>
  startServer({
    data,
    env: {
      NATS_URL: needed('NATS_URL'),
      REDIS_URL: needed('REDIS_URL'),
      SLUICE_NAMESPACE: namespace,
      NATS_STREAM_BYTES: '16777216',
    },
  });

beforeAll(async () => {
  data = await tempFolder();
  server = await start();
});
afterAll(async () => {
  await server.stop();
  await removeStored(namespace);
  await removeFolder(data);
});

test('a file becomes a result, and a call is answered', async () => {
  await firstSteps(server.sluice, 'upper');
});

test('the first screen names the servers and the variables', () => {
  for (const part of ['NATS JetStream', 'NATS_URL', 'Redis at', 'REDIS_URL'])
    expect(server.stdout()).toContain(part);
  expect(server.stdout() + server.stderr()).not.toContain(needed('REDIS_URL'));
});

test('what was there is there after a kill', async () => {
  await server.stop('SIGKILL');
  server = await start();
  const runs = await server.sluice('--json', 'run', 'list', 'upper');
  expect(runs.stdout).toContain('succeeded');
  await firstSteps(server.sluice, 'upper-again');
});
