import type { TSchema } from 'typebox';
import { BuildChanged } from './build.ts';
import { BackfillStart, RunCancel, RunChanged, RunStart, StorageNotification } from './messages.ts';
import { runStates, type RunState } from './run.ts';
import { subjectToken } from './subject.ts';

/** `cmd` has one owner and is worked off once; `evt` is past tense and has any number of readers. */
export type MessageKind = 'cmd' | 'evt';

export interface MessageContract {
  readonly kind: MessageKind;
  readonly schema: TSchema;
  /** The component that handles it (`cmd`) or says it (`evt`). */
  readonly owner: 'api' | 'scheduler' | 'storage-events' | 'builder';
  /** Whether the subject ends with a key (a service's name). */
  readonly keyed: boolean;
  /** What it means, for the generated page. */
  readonly summary: string;
}

const runChanged = (state: RunState): MessageContract => ({
  kind: 'evt',
  schema: RunChanged,
  owner: 'scheduler',
  keyed: true,
  summary: `A run became ${state}.`,
});

/** Every message there is. Start refuses a subscription or a publish that is not here. */
export const catalogue = {
  'runs.start': {
    kind: 'cmd',
    schema: RunStart,
    owner: 'scheduler',
    keyed: true,
    summary: 'Start an attempt of a queued run.',
  },
  'runs.cancel': {
    kind: 'cmd',
    schema: RunCancel,
    owner: 'scheduler',
    keyed: true,
    summary: 'End a run that is under way.',
  },
  'backfills.start': {
    kind: 'cmd',
    schema: BackfillStart,
    owner: 'storage-events',
    keyed: true,
    summary: 'Run the objects that were there before, on request.',
  },
  'storage.notify': {
    kind: 'cmd',
    schema: StorageNotification,
    owner: 'storage-events',
    keyed: false,
    summary: "An S3 server's bucket notification, as it came.",
  },
  'runs.queued': runChanged('queued'),
  'runs.starting': runChanged('starting'),
  'runs.running': runChanged('running'),
  'runs.succeeded': runChanged('succeeded'),
  'runs.failed': runChanged('failed'),
  'runs.cancelled': runChanged('cancelled'),
  'runs.superseded': runChanged('superseded'),
  'builds.changed': {
    kind: 'evt',
    schema: BuildChanged,
    owner: 'builder',
    keyed: true,
    summary: 'A build has begun, made progress or ended; the key is its user.',
  },
} as const satisfies Record<string, MessageContract>;

export type MessageName = keyof typeof catalogue;
export type CommandName = {
  [N in MessageName]: (typeof catalogue)[N]['kind'] extends 'cmd' ? N : never;
}[MessageName];

/** The message that says a run reached a state. */
export function runChangedName(state: RunState): MessageName {
  return `runs.${state}`;
}

/** All `runs.*` events. */
export const runChangedNames: readonly MessageName[] = runStates.map(runChangedName);

/**
 * The subject of a message: `<ns>.<kind>.v1.<name>[.<key>]`.
 * @param namespace first token, so that environments can share a server
 * @param key bounded key (a service's name); made safe by `subjectToken`
 */
export function subjectOf(namespace: string, name: MessageName, key?: string): string {
  const base = `${subjectToken(namespace)}.${catalogue[name].kind}.v1.${name}`;
  return key === undefined ? base : `${base}.${subjectToken(key)}`;
}
