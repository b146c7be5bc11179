import { createForgetfulLedger } from '../forgetful-ledger.ts';
import { describeRebuild } from '../rebuild.suite.ts';
import { embeddedLedger } from '../replicas.ts';

describeRebuild('embedded ledgers, one after the other', async (parts) => {
  const closers: (() => Promise<void>)[] = [];
  const ledger = await createForgetfulLedger(async () => {
    const made = await embeddedLedger(parts);
    closers.push(made.close);
    return made.ledger;
  });
  return {
    ledger,
    close: async () => {
      for (const close of closers) await close();
    },
  };
});
