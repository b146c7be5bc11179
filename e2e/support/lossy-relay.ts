import type { OwnServers } from './own-servers.ts';

/** What became of the notifications that passed. */
export interface LossyRelay {
  readonly passed: number;
  readonly dropped: number;
  readonly doubled: number;
  stop(): Promise<void>;
}

/** Hands an S3 server's notifications on as an unreliable network would: some are lost, some come twice. */
export async function openLossyRelay(
  servers: OwnServers,
  from: string,
  share: { readonly dropped: number; readonly doubled: number },
): Promise<LossyRelay> {
  const nats = await servers.openNats();
  const counts = { passed: 0, dropped: 0, doubled: 0 };
  nats.subscribe(from, {
    callback: (error, message) => {
      if (error !== null) throw error;
      const chance = Math.random();
      if (chance < share.dropped) {
        counts.dropped += 1;
        return;
      }
      counts.passed += 1;
      nats.publish(servers.notifySubject, message.data);
      if (chance > 1 - share.doubled) {
        counts.doubled += 1;
        nats.publish(servers.notifySubject, message.data);
      }
    },
  });
  await nats.flush();
  return {
    get passed() {
      return counts.passed;
    },
    get dropped() {
      return counts.dropped;
    },
    get doubled() {
      return counts.doubled;
    },
    stop: () => nats.drain(),
  };
}
