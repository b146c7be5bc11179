import { afterAll, beforeAll } from 'vitest';
import { describeOscarPython } from './suites/oscar-python.suite.ts';
import { needed } from './support/distributed.ts';
import { removeFolder, startServer, tempFolder, type Server } from './support/server.ts';

let data: string;
let server: Server;

beforeAll(async () => {
  data = await tempFolder();
  server = await startServer({
    data,
    env: {
      MINIO_ENDPOINT: needed('MINIO_ENDPOINT'),
      MINIO_ACCESS_KEY: needed('MINIO_ACCESS_KEY'),
      MINIO_SECRET_KEY: needed('MINIO_SECRET_KEY'),
    },
  });
});
afterAll(async () => {
  await server?.stop();
  if (data) await removeFolder(data);
});

describeOscarPython(() => server);
