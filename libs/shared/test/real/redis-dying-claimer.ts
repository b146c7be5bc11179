/** A process that stores a claim and never gets to publish its messages. */
import { newRun } from '../../src/testing/run-ledger-harness.ts';
import { connect, ledgerOf } from './redis-fixture.ts';

const [namespace = '', id = ''] = process.argv.slice(2);
const publish = async (): Promise<void> => {
  process.stdout.write('stored\n');
  await new Promise((resolve) => process.stdin.once('data', resolve));
};
const ledger = ledgerOf(await connect(namespace), { publish, carryRun: true });
await ledger.claim([newRun({ id })]);
