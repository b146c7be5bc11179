import { isFinalBuild, type BuildCaller, type BuildTicket } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BuildDesk } from '@sluice/shared/stores';
import { buildEnd } from '../../domain/build-wire.ts';
import { createBell } from './bell.ts';
import { followLog } from './follow-log.ts';
import type { Following } from './follow-runs.ts';
import { eventForm, ndjsonForm } from './log-forms.ts';

/** Nothing rings when a ticket changes. */
const lookMs = 1000;
/** A ticket that was cancelled has ended while its build may go on for others. */
const lingerMs = 2000;

/** How the log of a build is wanted. */
export interface BuildLogQuery {
  readonly offset: number;
  readonly follow: boolean;
  readonly form: 'events' | 'ndjson';
  /** Of events: the lines' times are said, too. */
  readonly timestamps: boolean;
}

/** A build's log while it is written, then the end with the ticket's final state. */
export function followBuildLog(
  ticket: BuildTicket,
  query: BuildLogQuery,
  deps: { readonly caller: BuildCaller; readonly desk: BuildDesk; readonly clock: Clock },
  following: Following,
): AsyncGenerator<string> {
  const { caller, desk, clock } = deps;
  const log = {
    read: (piece: { offset: number; limit: number }) => desk.log(ticket, piece),
    look: () => desk.get(caller, ticket.id),
    hasEnded: ({ state }: BuildTicket) => isFinalBuild(state),
    lookMs,
    lingerMs,
  };
  const form =
    query.form === 'ndjson'
      ? ndjsonForm<BuildTicket>(query.follow, buildEnd)
      : eventForm<BuildTicket>(query.timestamps, (last) => JSON.stringify(buildEnd(last)));
  const bell = createBell(clock, () => undefined);
  return followLog(ticket, query, { log, form, bell, clock }, following);
}
