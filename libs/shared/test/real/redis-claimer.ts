/** A process that claims the same ids as another one, and says which of them it created. */
import { createHash } from 'node:crypto';
import { newRun } from '../../src/testing/run-ledger-harness.ts';
import { connect, ledgerOf } from './redis-fixture.ts';

const [namespace = '', count = '0'] = process.argv.slice(2);
const redis = await connect(namespace);
const ledger = ledgerOf(redis);
await ledger.check();
process.stdout.write('ready\n');
await new Promise((resolve) => process.stdin.once('data', resolve));
const ids = Array.from({ length: Number(count) }, (_, index) =>
  createHash('sha256').update(String(index)).digest('hex'),
);
const results = await Promise.all(ids.map(async (id) => ledger.claim([newRun({ id })])));
const created = results.flat().filter((result) => result.created);
process.stdout.write(`${JSON.stringify(created.map(({ id }) => id))}\n`);
await redis.close();
process.exit(0);
