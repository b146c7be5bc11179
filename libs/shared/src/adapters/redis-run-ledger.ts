import type { OutgoingMessage } from '../bus/index.ts';
import { type Run, runStates, type RunState } from '../contracts/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import type { LedgerRecovery, RunLedger } from '../stores/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { inSteps } from './in-steps.ts';
import type { RedisConnection } from './redis-connection.ts';
import { type LedgerCall, ledgerCall, numbers, texts, tuples } from './redis-run-calls.ts';
import { createRedisRunChanges, findRun } from './redis-run-changes.ts';
import { createRedisRunClaims } from './redis-run-claims.ts';
import { createRedisRunList } from './redis-run-list.ts';
import { createRedisRunOutbox, type Publish, type RedisRunOutbox } from './redis-run-outbox.ts';
import { claimedScript, countsScript, intactScript, versionsScript } from './redis-run-read-scripts.ts';
import { createRedisRunRecovery } from './redis-run-recovery.ts';
import { expireClaimsScript, expireRecordsScript, removeScript } from './redis-run-scripts.ts';
import { checkBatch } from './run-record.ts';

export interface RedisRunLedgerOptions {
  readonly redis: RedisConnection;
  readonly clock: Clock;
  readonly log: Logger;
  /** The events that say a run reached its present state; stored in the outbox with each claim and change. */
  readonly eventsFor: (run: Run) => readonly OutgoingMessage[];
  /** The command that starts a run's first attempt; stored in the outbox with its claim. */
  readonly startMessage: (run: Run) => OutgoingMessage;
  /**
   * Publishes what this process stored right away; a claim then resolves only when its messages are on the bus, and the outbox shows a relay only what
   * was left behind (by a process that died, or while the bus was away). Without it everything waits for the relay.
   */
  readonly publish?: Publish;
  /** Start messages carry their run, so that a lost memory can be filled from them. @default false */
  readonly carryRun?: boolean;
  /** Messages that may wait in the outbox before claims are refused. @default 1000000 */
  readonly maxOutbox?: number;
}

/** What the parts of the ledger share. */
export interface RedisLedgerParts extends Pick<
  RedisRunLedgerOptions,
  'clock' | 'eventsFor' | 'startMessage'
> {
  readonly call: LedgerCall;
  readonly outbox: RedisRunOutbox;
  readonly maxOutbox: number;
  /** A message as it is published: with its run where it is to carry it. */
  readonly carry: (message: OutgoingMessage, run: Run) => OutgoingMessage;
}

/** The run ledger in Redis, for any number of processes. An id counts as claimed for as long as its claim or its record is there. */
export function createRedisRunLedger(options: RedisRunLedgerOptions): RunLedger & LedgerRecovery {
  const { redis, clock, log, publish, carryRun = false, maxOutbox = 1_000_000 } = options;
  const call = ledgerCall(redis);
  const outbox = createRedisRunOutbox({ call, clock, log, publish });
  const carry = carryRun ? carrying : (message: OutgoingMessage): OutgoingMessage => message;
  const { eventsFor, startMessage } = options;
  const ledger: RedisLedgerParts = { call, outbox, maxOutbox, carry, clock, eventsFor, startMessage };
  return {
    claim: createRedisRunClaims(ledger),
    claimed: async (ids) => {
      checkBatch(ids);
      return numbers(await call(claimedScript, ids)).map((there) => there === 1);
    },
    get: async (id) => (await findRun(ledger, id))?.run,
    ...createRedisRunChanges(ledger),
    list: createRedisRunList(call),
    counts: async (service) => {
      const index = service === undefined ? ['s:', ''] : ['v:', `:${service}`];
      const found = numbers(await call(countsScript, index));
      const entries = runStates.map((state, number) => [state, found[number] ?? 0] as const);
      return Object.fromEntries(entries) as Record<RunState, number>;
    },
    versionsInUse: async () => new Set(texts(await call(versionsScript, []))),
    ...createRetention(call),
    readOutbox: outbox.readOutbox,
    removeFromOutbox: outbox.removeFromOutbox,
    onOutbox: outbox.onOutbox,
    check: async () => {
      await redis.check();
      await call(intactScript, []);
    },
    ...createRedisRunRecovery(redis),
  };
}

/** Records or claims dropped by one script. */
const step = 250;

function createRetention(call: LedgerCall): Pick<RunLedger, 'remove' | 'expire'> {
  return {
    remove: async (ids) => {
      checkBatch(ids);
      return texts(await call(removeScript, ids));
    },
    expire: async ({ claimsBefore, recordsBefore, limit }) => {
      const records = await inSteps(
        { limit, step },
        async (some) => tuples(texts(await call(expireRecordsScript, [recordsBefore, some])), 2),
        (gone) => gone.length,
      );
      const claims = await inSteps(
        { limit, step },
        async (some) => Number(await call(expireClaimsScript, [claimsBefore, some])),
        (gone) => gone,
      );
      return {
        claims: claims.reduce((sum, gone) => sum + gone, 0),
        records: records.flat().map(([id = '', service = '']) => ({ id, service })),
      };
    },
  };
}

/** A start message with its run, without the time line: the message is the run's second home. */
function carrying(message: OutgoingMessage, run: Run): OutgoingMessage {
  const { name, payload } = message;
  if (name !== 'runs.start' || typeof payload !== 'object' || payload === null) return message;
  if (!('run_id' in payload) || payload.run_id !== run.id) return message;
  return { ...message, payload: { ...payload, run: { ...run, timeline: [] } } };
}
