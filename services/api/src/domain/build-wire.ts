import {
  BuildProgress,
  BuildState,
  isFinalBuild,
  type BuildTicket,
  type BuiltImage,
} from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { Type, type Static } from 'typebox';
import { dropAbsent, wireTime } from './run-wire.ts';

const Time = Type.String({ description: 'RFC 3339' });

/** A ticket as Sluice's own routes show it. */
export const WireBuild = Type.Object(
  {
    id: Type.String(),
    job_name: Type.String(),
    user: Type.String(),
    build: Type.String({ description: 'tickets for the same content share one' }),
    state: BuildState,
    message: Type.Optional(Type.String({ description: 'why it waits, failed or ended' })),
    code: Type.Optional(Type.String({ description: 'a word for programs where it failed' })),
    progress: Type.Optional(BuildProgress),
    kind: Type.String(),
    source: Type.String(),
    base_digest: Type.Optional(Type.String()),
    target: Type.String(),
    image: Type.String({ description: 'as clusters pull it' }),
    pushed: Type.String({ description: 'as it is pushed' }),
    digest: Type.Optional(Type.String()),
    size: Type.Optional(Type.Integer()),
    requirements: Type.Optional(Type.String({ description: 'SHA-256 of the requirements file' })),
    reused: Type.Boolean({ description: 'the image was there: nothing was built' }),
    created_at: Time,
    started_at: Type.Optional(Time),
    ended_at: Type.Optional(Time),
  },
  { title: 'Build' },
);

export function buildOnWire(ticket: BuildTicket): Static<typeof WireBuild> {
  const { created_at, started_at, ended_at } = ticket;
  return dropAbsent({
    id: ticket.id,
    job_name: jobNameOf(ticket),
    user: ticket.user,
    build: ticket.build,
    state: ticket.state,
    message: ticket.message,
    code: ticket.code,
    progress: ticket.progress,
    kind: ticket.kind,
    source: ticket.source,
    base_digest: ticket.base_digest,
    target: ticket.target,
    image: ticket.image,
    pushed: ticket.pushed,
    digest: ticket.digest,
    size: ticket.size,
    requirements: ticket.requirements,
    reused: ticket.reused,
    created_at: wireTime(created_at),
    started_at: started_at === undefined ? undefined : wireTime(started_at),
    ended_at: ended_at === undefined ? undefined : wireTime(ended_at),
  });
}

const phases = {
  queued: 'Pending',
  running: 'Running',
  succeeded: 'Succeeded',
  failed: 'Failed',
  cancelled: 'Failed',
  expired: 'Failed',
} as const satisfies Record<BuildState, string>;

const states = Object.keys(phases) as BuildState[];

/** @throws AppError `invalid_input` for a word that is no state */
export function readBuildState(word: string): BuildState {
  const state = states.find((one) => one === word);
  if (state !== undefined) return state;
  throw new AppError('invalid_input', `state: must be one of ${states.join(', ')}`, { field: 'state' });
}

/** Whether a text can be a ticket's id: a UUID, or the hash of a content (`/build/ensure`). */
export function isTicketId(text: string): boolean {
  return isContentId(text) || /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);
}

export function isContentId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** Of the Kubernetes Job that there would be; tasks look for `build-`. */
export function jobNameOf({ user, id }: Pick<BuildTicket, 'user' | 'id'>): string {
  return `build-${user}-${id}`;
}

const nullable = (schema: typeof Time) => Type.Union([schema, Type.Null()]);

/** What `/build/status` says beside message and status: a Job's counters, and what we know more. */
export const WireStatus = Type.Object({
  id: Type.String(),
  job_name: Type.String(),
  phase: Type.Union([
    Type.Literal('Pending'),
    Type.Literal('Running'),
    Type.Literal('Succeeded'),
    Type.Literal('Failed'),
  ]),
  active: Type.Integer(),
  succeeded: Type.Integer(),
  failed: Type.Integer(),
  startTime: nullable(Time),
  completionTime: nullable(Time),
  state: BuildState,
  image: Type.String(),
  digest: nullable(Type.String()),
  reason: nullable(Type.String({ description: 'why it waits, failed or ended' })),
});

export function statusOf(ticket: BuildTicket): Static<typeof WireStatus> {
  const phase = phases[ticket.state];
  return {
    id: ticket.id,
    job_name: jobNameOf(ticket),
    phase,
    active: phase === 'Running' ? 1 : 0,
    succeeded: phase === 'Succeeded' ? 1 : 0,
    failed: phase === 'Failed' ? 1 : 0,
    startTime: kubernetesTime(ticket.started_at),
    completionTime: kubernetesTime(ticket.ended_at),
    state: ticket.state,
    image: ticket.image,
    digest: ticket.digest ?? null,
    reason: ticket.message ?? null,
  };
}

/** Kubernetes' times have no fractions. */
function kubernetesTime(at: number | undefined): string | null {
  return at === undefined ? null : wireTime(at).replace(/\.\d{3}Z$/, 'Z');
}

/** What `/build/ensure` says; the message is the build's own. */
export const WireEnsured = Type.Object({
  id: Type.String(),
  job_name: Type.String(),
  state: Type.Union([
    Type.Literal('queued'),
    Type.Literal('running'),
    Type.Literal('succeeded'),
    Type.Literal('failed'),
  ]),
  message: Type.String(),
  image: nullable(Type.String({ description: 'null until it is there' })),
  digest: nullable(Type.String()),
});

export interface Ensured {
  readonly status: 200 | 202 | 409;
  readonly data: Static<typeof WireEnsured>;
}

export function ensuredOf(ticket: BuildTicket): Ensured {
  const state = ticket.state === 'cancelled' || ticket.state === 'expired' ? 'failed' : ticket.state;
  return {
    status: !isFinalBuild(ticket.state) ? 202 : state === 'succeeded' ? 200 : 409,
    data: {
      id: ticket.id,
      job_name: jobNameOf(ticket),
      state,
      message: ticket.message ?? `Build ${ticket.state}`,
      image: state === 'succeeded' ? ticket.image : null,
      digest: ticket.digest ?? null,
    },
  };
}

/** The last word of a log that is followed. */
export function buildEnd({ id, state, message, code, image, digest }: BuildTicket): object {
  return dropAbsent({ id, state, message, code, image, digest });
}

export const WireImage = Type.Object(
  {
    tag: Type.String(),
    image: Type.String({ description: 'as clusters pull it, by tag' }),
    digest: Type.String(),
    size: Type.Integer(),
    created_at: Type.Optional(Time),
    kind: Type.Optional(Type.String()),
    source: Type.Optional(Type.String()),
    base_digest: Type.Optional(Type.String()),
    requirements: Type.Optional(Type.String({ description: 'SHA-256 of the requirements file' })),
    used_by: Type.Array(Type.String(), { description: 'services whose definition names it' }),
  },
  { title: 'Image' },
);

export function imageOnWire(image: BuiltImage): Static<typeof WireImage> {
  const { created_at: at } = image;
  return dropAbsent({
    tag: image.tag,
    image: image.image,
    digest: image.digest,
    size: image.size,
    created_at: at === undefined ? undefined : wireTime(at),
    kind: image.kind,
    source: image.source,
    base_digest: image.base_digest,
    requirements: image.requirements,
    used_by: [...image.used_by],
  });
}

export const WireUsage = Type.Object(
  {
    queued: Type.Integer(),
    running: Type.Integer(),
    max_queued: Type.Integer(),
    max_running: Type.Integer(),
    images: Type.Integer(),
    bytes: Type.Integer({ description: 'layers that images share counted once' }),
  },
  { title: 'BuildUsage' },
);

const Tagged = Type.Object({ image: Type.String(), why: Type.String() });

export const WirePruned = Type.Object(
  {
    dry_run: Type.Boolean(),
    removed: Type.Array(Tagged),
    kept: Type.Array(Tagged),
    collection: Type.Optional(
      Type.Object({
        state: Type.Union([Type.Literal('done'), Type.Literal('scheduled'), Type.Literal('unsupported')]),
        freed_bytes: Type.Optional(Type.Integer()),
      }),
    ),
  },
  { title: 'PruneReport' },
);
