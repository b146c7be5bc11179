import { isAppError } from '../errors/index.ts';
import type { OutboxEntry, RunLedger } from '../stores/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { doubt, fine } from './check.ts';
import type { Look } from './look.ts';

/** A message that waits for this long is not just on its way. */
const patienceMs = 30_000;

/** Whether what was stored with changes of runs is published: a message that stays the oldest means that nobody takes it. */
export function outboxLook({
  ledger,
  clock,
}: {
  readonly ledger: Pick<RunLedger, 'readOutbox'>;
  readonly clock: Clock;
}): Look {
  const name = 'outbox';
  const mend =
    'Every process publishes what waits, so the bus has to refuse it: see the checks of NATS and the log ("outbox cannot be published").';
  let oldest: { readonly seq: string; readonly since: number } | undefined;
  return {
    name,
    mend: 'The run ledger has to be reachable: see its own checks.',
    look: async () => {
      const entries = await readOrNone(ledger);
      if (entries === undefined) return [];
      const [first] = entries;
      if (first?.seq !== oldest?.seq)
        oldest = first === undefined ? undefined : { seq: first.seq, since: clock.monotonic() };
      const waitsMs = oldest === undefined ? 0 : clock.monotonic() - oldest.since;
      if (waitsMs < patienceMs) return [fine(name, 'Messages are published.')];
      const seconds = Math.round(waitsMs / 1000);
      return [doubt(name, `A message waits to be published for ${seconds} s or more.`, mend)];
    },
  };
}

/** Undefined while the ledger is away or being rebuilt: its own check says so. */
async function readOrNone(
  ledger: Pick<RunLedger, 'readOutbox'>,
): Promise<readonly OutboxEntry[] | undefined> {
  try {
    return await ledger.readOutbox(1);
  } catch (error) {
    if (isAppError(error, 'unavailable')) return undefined;
    throw error;
  }
}
