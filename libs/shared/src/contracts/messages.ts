import { Type, type Static } from 'typebox';
import { Failure, Run, RunSource, RunState } from './run.ts';

export const RunStart = Type.Object({
  run_id: Type.String(),
  service: Type.String(),
  attempt: Type.Integer(),
  /** Epoch milliseconds before which the attempt should not start: back-off between attempts. */
  not_before: Type.Optional(Type.Number()),
  /** The run as it was accepted, without its time line, where the ledger may lose it: the message is then its second home. */
  run: Type.Optional(Run),
});
export type RunStart = Static<typeof RunStart>;

export const RunCancel = Type.Object({
  run_id: Type.String(),
  service: Type.String(),
  reason: Type.String(),
});
export type RunCancel = Static<typeof RunCancel>;

/** A change of state, said after it is stored. */
export const RunChanged = Type.Object({
  run_id: Type.String(),
  service: Type.String(),
  service_uid: Type.String(),
  state: RunState,
  attempt: Type.Integer(),
  source: RunSource,
  /** Epoch milliseconds. */
  at: Type.Number(),
  exit_code: Type.Optional(Type.Integer()),
  failure: Type.Optional(Failure),
});
export type RunChanged = Static<typeof RunChanged>;

/** Runs the objects of a service's input prefixes that no claim covers, the floor notwithstanding. */
export const BackfillStart = Type.Object({
  backfill_id: Type.String(),
  service: Type.String(),
  service_uid: Type.String(),
  /** Only keys that begin with this; an input path's own folder where empty. */
  prefix: Type.String(),
  /** Run again what has had its run. */
  again: Type.Boolean(),
  /** This one object only, `prefix` notwithstanding: what a redriven dead letter of storage-events asks for. */
  object: Type.Optional(Type.Object({ bucket: Type.String(), key: Type.String() })),
});
export type BackfillStart = Static<typeof BackfillStart>;

/** A bucket notification as an S3 server sent it: any JSON; parsed by storage-events. */
export const StorageNotification = Type.Unknown();
export type StorageNotification = Static<typeof StorageNotification>;
