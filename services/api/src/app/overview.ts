import type { Bus } from '@sluice/shared/bus';
import { activeStates, runStates } from '@sluice/shared/contracts';
import type { RunLedger } from '@sluice/shared/stores';
import { Type, type Static } from 'typebox';
import type { Installation } from '../ports.ts';
import type { Directory } from './directory.ts';

export const Overview = Type.Object({
  version: Type.String(),
  adapters: Type.Record(Type.String(), Type.Object({ adapter: Type.String(), chosen_by: Type.String() })),
  runs: Type.Object(Object.fromEntries(runStates.map((state) => [state, Type.Integer()]))),
  services: Type.Integer(),
  dead_letters: Type.Integer(),
  slots: Type.Object({ used: Type.Integer(), limit: Type.Integer() }),
  buckets_path: Type.Optional(Type.String()),
});
export type Overview = Static<typeof Overview>;

/** One screen about the whole installation. */
export async function readOverview(context: {
  readonly version: string;
  readonly installation: () => Installation;
  readonly ledger: Pick<RunLedger, 'counts'>;
  readonly bus: { readonly deadLetters: Pick<Bus['deadLetters'], 'count'> };
  readonly directory: Pick<Directory, 'count'>;
}): Promise<Overview> {
  const { adapters, slots, bucketsPath } = context.installation();
  const [runs, deadLetters] = await Promise.all([context.ledger.counts(), context.bus.deadLetters.count()]);
  return {
    version: context.version,
    adapters: { ...adapters },
    runs: { ...runs },
    services: context.directory.count(),
    dead_letters: deadLetters,
    slots: { used: activeStates.reduce((sum, state) => sum + runs[state], 0), limit: slots },
    ...(bucketsPath === undefined ? {} : { buckets_path: bucketsPath }),
  };
}
