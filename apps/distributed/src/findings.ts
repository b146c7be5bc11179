import { randomBytes } from 'node:crypto';
import { natsLooks, openS3Looks, redisLooks } from '@sluice/shared/adapters';
import {
  announceChecks,
  createLooks,
  fine,
  outboxLook,
  type Look,
  type ProcessChecks,
} from '@sluice/shared/checks';
import type { Neighbours } from './neighbours.ts';
import type { ProcessDeps } from './start.ts';
import type { ProcessConfig } from './variables.ts';
import { version } from './version.ts';

export interface FindingsOptions {
  readonly component: string;
  /** Rejects with what is wrong now: what readiness says as well. */
  readonly check: () => Promise<void>;
  /** Beside what every process looks at. */
  readonly looks?: readonly Look[];
  /** Where this process reads it. */
  readonly notifySubject?: string;
}

/** What a process finds of itself and of its neighbours, for `GET /system/checks` of every api. */
export interface Findings {
  readonly self: ProcessChecks;
  /** Says it from now on. */
  announce(): void;
  stop(): Promise<void>;
}

export async function openFindings(
  config: ProcessConfig,
  { clock, log }: ProcessDeps,
  { nats, redis, ledger, bus, s3 }: Neighbours,
  { component, check, looks = [], notifySubject }: FindingsOptions,
): Promise<Findings> {
  const storage = await openS3Looks({ connection: s3.connection, clock });
  const all = [
    readyLook(check),
    ...natsLooks({
      nats,
      namespace: config.SLUICE_NAMESPACE,
      replicas: config.NATS_REPLICAS,
      limits: { streamBytes: config.NATS_STREAM_BYTES },
      notifySubject,
      clock,
    }),
    ...redisLooks({ redis, ledger }),
    outboxLook({ ledger, clock }),
    ...storage.looks,
    ...looks,
  ];
  const self: ProcessChecks = {
    component,
    instance: randomBytes(6).toString('hex'),
    version,
    startedAt: clock.now(),
    look: createLooks(all, { clock }),
  };
  const current: { announcing?: { stop(): Promise<void> } } = {};
  return {
    self,
    announce: () => {
      current.announcing ??= announceChecks(self, { bus, clock, log });
    },
    stop: async () => {
      await current.announcing?.stop();
      await storage.close();
    },
  };
}

function readyLook(check: () => Promise<void>): Look {
  const name = 'ready';
  return {
    name,
    mend: 'Its log says more; it becomes ready by itself once what it waits for is there.',
    look: async () => {
      await check();
      return [fine(name, 'It works.')];
    },
  };
}
