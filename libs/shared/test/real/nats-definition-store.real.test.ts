import { dropNatsDefinitionStore } from '../../src/adapters/index.ts';
import { describeDefinitionStore } from '../../src/testing/index.ts';
import { boxOf, openTestNats, openTestStore, randomKey, randomNamespace } from './nats-kv-fixture.ts';

describeDefinitionStore('NATS', async () => {
  const namespace = randomNamespace();
  const box = boxOf(randomKey('test'));
  let nats = await openTestNats();
  let store = await openTestStore(nats, namespace, box);
  return {
    store,
    restart: async () => {
      await store.close();
      await nats.close();
      nats = await openTestNats();
      store = await openTestStore(nats, namespace, box);
      return store;
    },
    close: async () => {
      await store.close();
      await dropNatsDefinitionStore({ nats, namespace });
      await nats.close();
    },
  };
});
