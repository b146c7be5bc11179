import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeLiveEvents } from './suites/live-events.suite.ts';
import { removeFolder, startServer, tempFolder } from './support/server.ts';
import { waitFor } from './support/wait.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld();
});
afterAll(() => world.close());

describeLiveEvents(() => world);

test('a server that stops ends its streams at once', async () => {
  const folder = await tempFolder();
  const other = await startServer({ data: folder });
  const login = ['--user', `${other.username}:${other.password}`];
  const curl = spawn('curl', ['--silent', '--no-buffer', ...login, `${other.url}/system/runs/events`]);
  let text = '';
  curl.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  const ended = Promise.withResolvers<number | null>();
  curl.on('close', ended.resolve);
  await waitFor('the stream to open', async () => (text.includes('\nid: ') ? true : undefined));
  const begin = performance.now();
  const done = await other.stop();
  expect(done.code).toBe(0);
  expect(performance.now() - begin).toBeLessThan(3000);
  expect(await ended.promise).toBe(0);
  await removeFolder(folder);
});
