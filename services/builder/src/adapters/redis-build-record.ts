import { type BuildProgress, BuildState, type BuildTicket } from '@sluice/shared/contracts';
import type { BuildSpec, StoredBuild } from '../ports.ts';

/** What never changes of a ticket, kept as JSON; all else has a field of its own, so that the scripts can change it. */
type TicketFacts = Pick<
  BuildTicket,
  'kind' | 'source' | 'base_digest' | 'target' | 'image' | 'pushed' | 'requirements' | 'reused' | 'created_at'
>;

type SpecFacts = Omit<BuildSpec, 'file'>;

export function ticketFacts(ticket: BuildTicket): string {
  const { kind, source, base_digest, target, image, pushed, requirements, reused, created_at } = ticket;
  return JSON.stringify({
    kind,
    source,
    base_digest,
    target,
    image,
    pushed,
    requirements,
    reused,
    created_at,
  });
}

export function specFacts(spec: BuildSpec): string {
  return JSON.stringify({ ...spec, file: undefined });
}

/** Milliseconds as the scripts count them: 15 digits sort as text. */
export function paddedTime(ms: number): string {
  return String(Math.floor(ms)).padStart(15, '0');
}

/** A ticket as the scripts answer it (`seeTicket`). */
export function ticketFrom(user: string, reply: unknown): BuildTicket {
  const [id = '', facts = '{}', build = '', state, started, ended, message, code, progress, digest, size] =
    texts(reply);
  const known = JSON.parse(facts) as TicketFacts;
  const startedAt = numberFrom(started);
  const shown = progressFrom(progress);
  return {
    ...known,
    id,
    user,
    build,
    state: stateFrom(state),
    ...optional('message', textFrom(message)),
    ...optional('code', textFrom(code)),
    ...optional('progress', shown),
    ...optional('digest', textFrom(digest)),
    ...optional('size', numberFrom(size)),
    // Its build may have begun before it joined.
    ...optional('started_at', startedAt === undefined ? undefined : Math.max(startedAt, known.created_at)),
    ...optional('ended_at', numberFrom(ended)),
  };
}

export function ticketsFrom(user: string, reply: unknown): readonly BuildTicket[] {
  return parts(reply).map((ticket) => ticketFrom(user, ticket));
}

/**
 * A build as the scripts answer it (`seeBuild`).
 * @param file its requirements file where that is known already
 */
export function buildFrom(reply: unknown, file?: string): StoredBuild {
  const [id, fields, tickets, files] = parts(reply);
  const [
    key = '',
    spec = '{}',
    state,
    order,
    created,
    started,
    ended,
    message,
    progress,
    digest,
    size,
    lost,
  ] = texts(fields);
  return {
    id: String(id),
    key,
    spec: { ...(JSON.parse(spec) as SpecFacts), file: file ?? texts(files)[0] },
    state: stateFrom(state),
    order: Number(order),
    createdAt: Number(created),
    startedAt: numberFrom(started),
    endedAt: numberFrom(ended),
    tickets: texts(tickets),
    progress: progressFrom(progress),
    message: textFrom(message),
    digest: textFrom(digest),
    size: numberFrom(size),
    lost: Number(lost),
  };
}

/** The parts of an array reply. */
export function parts(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw new Error(`Redis answered a ${typeof reply} in place of an array`);
  return reply;
}

export function texts(reply: unknown): readonly string[] {
  return parts(reply).map(String);
}

function stateFrom(text: string | undefined): BuildState {
  const state = BuildState.anyOf.map(({ const: word }) => word).find((word) => word === text);
  if (state === undefined) throw new Error(`unknown state of a build: ${text}`);
  return state;
}

function progressFrom(text: string | undefined): BuildProgress | undefined {
  return text === undefined || text === '' ? undefined : (JSON.parse(text) as BuildProgress);
}

function textFrom(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function numberFrom(text: string | undefined): number | undefined {
  return text === undefined || text === '' ? undefined : Number(text);
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}
