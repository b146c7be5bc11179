import { describeBus, describeBusPending, type MakeBus } from '../../src/testing/index.ts';
import { busOn, openTestNats, randomNamespace, removeStreams } from './nats-fixture.ts';

const make: MakeBus = async (limits = {}) => {
  const namespace = randomNamespace();
  let nats = await openTestNats();
  const open = async () => busOn(nats, { namespace, limits });
  let bus = await open();
  return {
    bus,
    restart: async () => {
      // Cut, with all that is in hand.
      await nats.connection.close();
      nats = await openTestNats();
      bus = await open();
      return bus;
    },
    cut: async () => nats.connection.reconnect(),
    close: async () => {
      await bus.close();
      await nats.close();
      await removeStreams(namespace);
    },
  };
};

describeBus('JetStream', make);
describeBusPending('JetStream', make);
