import { createNatsSettings, dropNatsSettings } from '../../src/adapters/index.ts';
import { describeSettings } from '../../src/testing/index.ts';
import { openTestNats, randomNamespace } from './nats-kv-fixture.ts';

describeSettings('NATS', async () => {
  const namespace = randomNamespace();
  let nats = await openTestNats();
  return {
    settings: await createNatsSettings({ nats, namespace }),
    restart: async () => {
      await nats.close();
      nats = await openTestNats();
      return createNatsSettings({ nats, namespace });
    },
    close: async () => {
      await dropNatsSettings({ nats, namespace });
      await nats.close();
    },
  };
});
