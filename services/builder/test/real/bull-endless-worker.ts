import { once } from 'node:events';
import { createBullBuildWorkers } from '../../src/adapters/index.ts';
import { connection } from './store-fixture.ts';

/** Takes builds and ends none, so that a test can kill it in the middle of them. Arguments: namespace, address of Redis. */
const [namespace = '', url] = process.argv.slice(2);
const workers = createBullBuildWorkers({
  connection: connection(namespace, url),
  concurrency: 1,
  lockMs: 1000,
  stallCheckMs: 500,
});
await workers.start(async (id, _attempt, signal) => {
  process.stdout.write(`has ${id}\n`);
  await once(signal, 'abort');
  process.stdout.write(`aborted ${id}\n`);
  return { kind: 'done' };
});
