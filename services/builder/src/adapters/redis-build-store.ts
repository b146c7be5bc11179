import type { RedisConnection, RedisScript } from '@sluice/shared/adapters';
import { type BuildTicket, isFinalBuild } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { BuildLimits, BuildOutcome, BuildStore, Joined, StoredBuild } from '../ports.ts';
import {
  buildFrom,
  paddedTime,
  parts,
  specFacts,
  texts,
  ticketFacts,
  ticketFrom,
  ticketsFrom,
} from './redis-build-record.ts';
import {
  againScript,
  beginScript,
  buildScript,
  cancelScript,
  countsScript,
  endScript,
  forgetScript,
  joinScript,
  openScript,
  pageScript,
  progressScript,
  putScript,
  removeScript,
  ticketScript,
} from './redis-build-scripts.ts';

export interface RedisBuildStoreOptions {
  readonly redis: RedisConnection;
  readonly clock: Clock;
  /** Tickets of one user that ended at once; with one more the oldest is forgotten. @default 5000 */
  readonly maxReused?: number;
}

/** Tickets that may wait for one build: all of them end in one step. */
const maxTicketsOfBuild = 1000;
/** BullMQ's greatest priority. It would take years without a moment in which nothing is open to come there; all are equal then. */
const greatestOrder = 2_097_151;
/** Tickets of one page, and those that are looked at for one where most have another state. */
const maxPage = 1000;
const maxLooks = 2000;
/** Tickets that one step removes: Redis does nothing else meanwhile. */
const removedAtOnce = 500;

type Call = (script: RedisScript, args: readonly (string | number)[]) => Promise<unknown>;

/** Tickets and builds in Redis, for any number of processes. */
export function createRedisBuildStore(options: RedisBuildStoreOptions): BuildStore {
  const { redis, clock, maxReused = 5000 } = options;
  const call: Call = async (script, args) => redis.run(script, args);
  const now = (): number => Math.floor(clock.now());
  return {
    ...ticketSteps(call, now, maxReused),
    ...buildSteps(call, now),
    join: async (ticket, build, limits) => join(call, { ticket, build, limits, at: now() }),
    removeEnded: async (before, user) => removeEnded(call, before, user),
    check: redis.check,
  };
}

interface Joining {
  readonly ticket: BuildTicket;
  readonly build: Pick<StoredBuild, 'id' | 'key' | 'spec'>;
  readonly limits: BuildLimits;
  readonly at: number;
}

async function join(call: Call, { ticket, build, limits, at }: Joining): Promise<Joined> {
  const { user } = ticket;
  const { id, key, spec } = build;
  if (spec.user !== user) throw new Error('a ticket can only join a build of its user');
  const reply = await call(joinScript, [
    user,
    ticket.id,
    ticketFacts(ticket),
    paddedTime(ticket.created_at),
    id,
    key,
    limits.userOpen,
    limits.totalOpen,
    maxTicketsOfBuild,
    greatestOrder,
    spec.force ? 1 : 0,
    at,
    specFacts(spec),
    ...(spec.file === undefined ? [0, ''] : [1, spec.file]),
  ]);
  const [kind, ...rest] = parts(reply);
  switch (kind) {
    case 'known':
      return { kind, ticket: ticketFrom(user, rest[0]) };
    case 'joined':
    case 'created':
      return { kind, build: buildFrom(rest[0], spec.file), ticket: ticketFrom(user, rest[1]) };
    case 'full':
      return { kind, of: rest[0] === 'user' ? 'user' : 'total', open: Number(rest[1]) };
    default:
      throw new Error(`there is a build ${id} already`);
  }
}

type TicketSteps = Pick<BuildStore, 'put' | 'forget' | 'ticket' | 'tickets' | 'cancel'>;

function ticketSteps(call: Call, now: () => number, maxReused: number): TicketSteps {
  return {
    put: async (ticket) => {
      const reply = await call(putScript, [...putArgs(ticket, now()), maxReused]);
      return ticketFrom(ticket.user, reply);
    },
    forget: async (user, id) => {
      await call(forgetScript, [user, id]);
    },
    ticket: async (user, id) => {
      const reply = await call(ticketScript, [user, id]);
      return reply === null ? undefined : ticketFrom(user, reply);
    },
    tickets: async (user, { limit, after = '', state = '' }) => {
      checkCursor(after);
      const most = Math.min(limit, maxPage);
      const [found, last] = parts(await call(pageScript, [user, most, after, state, maxLooks]));
      const tickets = ticketsFrom(user, found);
      return last === '' ? { tickets } : { tickets, next: String(last) };
    },
    cancel: async (user, id, message) => {
      const reply = await call(cancelScript, [user, id, now(), message]);
      if (reply === null) return undefined;
      const [ticket, abandoned] = parts(reply);
      return {
        ticket: ticketFrom(user, ticket),
        abandoned: abandoned === '' ? undefined : String(abandoned),
      };
    },
  };
}

function putArgs(ticket: BuildTicket, at: number): (string | number)[] {
  const { user, id, build, state, message = '', code = '', progress, digest = '', size = '' } = ticket;
  if (!isFinalBuild(state)) throw new Error('only a ticket that has ended can be put: join is for others');
  return [
    user,
    id,
    ticketFacts(ticket),
    paddedTime(ticket.created_at),
    build,
    state,
    ticket.started_at ?? '',
    Math.floor(ticket.ended_at ?? at),
    message,
    code,
    progress === undefined ? '' : JSON.stringify(progress),
    digest,
    size,
  ];
}

function checkCursor(after: string): void {
  if (after === '' || /^\d{15}[\w-]+$/.test(after)) return;
  throw new AppError('invalid_input', 'This is not the "next" of an earlier page of builds: leave it out.', {
    field: 'after',
  });
}

type BuildSteps = Pick<BuildStore, 'build' | 'begin' | 'progress' | 'again' | 'end' | 'open' | 'counts'>;

function buildSteps(call: Call, now: () => number): BuildSteps {
  return {
    build: async (id) => {
      const reply = await call(buildScript, [id]);
      return reply === null ? undefined : buildFrom(reply);
    },
    begin: async (id, limits) => {
      const reply = await call(beginScript, [id, now(), limits.userRunning]);
      return reply === 'unwanted' || reply === 'later' ? reply : buildFrom(reply);
    },
    progress: async (id, progress, message = '') =>
      (await call(progressScript, [id, JSON.stringify(progress), message])) === 1,
    again: async (id, message) => {
      await call(againScript, [id, now(), message]);
    },
    end: async (id, outcome, tagged = []) => end(call, id, [...outcomeArgs(outcome, now()), ...tagged]),
    open: async () => parts(await call(openScript, [])).map((build) => buildFrom(build)),
    counts: async (user = '') => {
      const [queued, running] = parts(await call(countsScript, [user]));
      return { queued: Number(queued), running: Number(running) };
    },
  };
}

async function end(
  call: Call,
  id: string,
  args: readonly (string | number)[],
): ReturnType<BuildStore['end']> {
  const [owner, ended, untagged] = parts(await call(endScript, [id, ...args]));
  const user = String(owner);
  return { ended: ticketsFrom(user, ended), untagged: ticketsFrom(user, untagged) };
}

function outcomeArgs(outcome: BuildOutcome, at: number): (string | number)[] {
  const { state, message = '' } = outcome;
  if (outcome.state === 'succeeded') return [at, state, '', message, outcome.digest, outcome.size];
  return [at, state, outcome.code, message, '', ''];
}

async function removeEnded(call: Call, before: number, user = ''): ReturnType<BuildStore['removeEnded']> {
  const builds: { readonly user: string; readonly id: string }[] = [];
  let removed = 0;
  for (;;) {
    const [gone, went] = parts(await call(removeScript, [Math.floor(before), user, removedAtOnce]));
    const names = texts(went);
    for (let at = 0; at + 1 < names.length; at += 2)
      builds.push({ user: names[at] ?? '', id: names[at + 1] ?? '' });
    removed += Number(gone);
    if (Number(gone) < removedAtOnce) return { removed, builds };
  }
}
