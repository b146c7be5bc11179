import { describeRunLedger } from '../../src/testing/run-ledger.suite.ts';
import { describeRunModel } from '../../src/testing/run-model.suite.ts';
import { harness } from './redis-fixture.ts';

describeRunLedger('Redis', async () => harness());
// Changes of one run that are asked for at the same time race, as those of several processes do.
describeRunModel('Redis', async () => harness(), false);
