import { createHash, randomUUID } from 'node:crypto';
import type { BuildCaller, BuildRequest, BuildTicket, BuiltImage } from '@sluice/shared/contracts';
import type { BuildDesk } from '@sluice/shared/stores';
import { AppError } from '@sluice/shared/errors';
import type { Account, Accounts } from '@sluice/api';

/** A desk of the api's own port that keeps all in memory and builds nothing: tests say what becomes of tickets. */
export interface MemoryDesk {
  readonly desk: BuildDesk;
  readonly accounts: Accounts;
  /** What `start`, `ensure`, `cleanup`, `deleteImage` and `prune` were asked for, in order. */
  readonly asked: readonly {
    readonly what: string;
    readonly caller?: BuildCaller;
    readonly value: unknown;
  }[];
  /** The next call of the desk is refused with this. */
  refuse(error: Error): void;
  put(change: Partial<BuildTicket> & { readonly user: string }): BuildTicket;
  change(id: string, change: Partial<BuildTicket>): void;
  remove(id: string): void;
  /** Adds to the log of a ticket. */
  log(id: string, text: string, complete?: boolean): void;
  image(user: string, image: Partial<BuiltImage> & { readonly tag: string }): void;
}

const at = Date.parse('2026-01-02T03:04:05.678Z');
const digest = `sha256:${'ab'.repeat(32)}`;

const accounts: readonly (Account & { readonly uuid: string; readonly key: string })[] = [
  {
    login: 'anna',
    admin: false,
    env: { REGISTRY_HOST: 'registry:5000' },
    uuid: 'anna-uuid',
    key: 'anna-key',
  },
  { login: 'bob', admin: false, env: {}, uuid: 'bob-uuid', key: 'bob-key' },
];

export function memoryDesk(): MemoryDesk {
  const tickets = new Map<string, BuildTicket>();
  const logs = new Map<string, { text: Buffer; complete: boolean }>();
  const images = new Map<string, BuiltImage[]>();
  const asked: { what: string; caller?: BuildCaller; value: unknown }[] = [];
  let refusal: Error | undefined;
  const note = (what: string, value: unknown, caller?: BuildCaller): void => {
    asked.push({ what, value, ...(caller === undefined ? {} : { caller }) });
    const error = refusal;
    refusal = undefined;
    if (error !== undefined) throw error;
  };
  const put: MemoryDesk['put'] = (change) => {
    const { id = randomUUID(), target = `${change.user}:numpy` } = change;
    const ticket: BuildTicket = {
      id,
      build: randomUUID(),
      kind: 'python',
      source: 'docker.io/library/python:3.12',
      target,
      image: `registry:5000/${target}`,
      pushed: `registry:5000/${target}`,
      state: 'queued',
      reused: false,
      created_at: at,
      ...change,
    };
    tickets.set(id, ticket);
    return ticket;
  };
  const own = (caller: BuildCaller, id: string): BuildTicket | undefined => {
    const ticket = tickets.get(id);
    return ticket?.user === caller.login ? ticket : undefined;
  };
  const desk: BuildDesk = {
    start: async (caller, request: BuildRequest) => {
      note('start', request, caller);
      const { source, target, kind } = request;
      return put({ user: caller.login, source, target, kind });
    },
    ensure: async (caller, request) => {
      note('ensure', request, caller);
      const id = createHash('sha256').update(`${request.builder}\0${request.file}`).digest('hex');
      return (
        own(caller, id) ??
        put({ id, user: caller.login, target: `${caller.login}:python-${id.slice(0, 20)}` })
      );
    },
    builders: () => [{ id: 'python', kind: 'python' }],
    get: async (caller, id) => {
      note('get', id, caller);
      return own(caller, id);
    },
    list: async (caller, { limit, after, state }) => {
      const all = [...tickets.values()]
        .filter((ticket) => ticket.user === caller.login && (state === undefined || ticket.state === state))
        .reverse();
      const from = after === undefined ? 0 : all.findIndex(({ id }) => id === after) + 1;
      const page = all.slice(from, from + limit);
      const last = page.at(-1);
      return { tickets: page, ...(from + limit < all.length && last !== undefined ? { next: last.id } : {}) };
    },
    cancel: async (caller, id) => {
      const ticket = own(caller, id);
      if (ticket === undefined || !['queued', 'running'].includes(ticket.state)) return ticket;
      return put({ ...ticket, state: 'cancelled', ended_at: at + 5000 });
    },
    log: async ({ id }, { offset, limit }) => {
      const log = logs.get(id);
      if (log === undefined) return undefined;
      const data = log.text.subarray(offset, offset + limit);
      const nextOffset = offset + data.byteLength;
      return { data, nextOffset, complete: log.complete && nextOffset >= log.text.byteLength };
    },
    cleanup: async (caller, maxAgeMs) => {
      note('cleanup', maxAgeMs, caller);
      const ended = [...tickets.values()].filter(
        (ticket) => ticket.user === caller.login && ticket.ended_at !== undefined,
      );
      for (const { id } of ended) tickets.delete(id);
      return ended.length;
    },
    images: async (caller) => images.get(caller.login) ?? [],
    image: async (caller, tag) => images.get(caller.login)?.find((image) => image.tag === tag),
    deleteImage: async (caller, tag, force) => {
      note('deleteImage', { tag, force }, caller);
      const image = images.get(caller.login)?.find((one) => one.tag === tag);
      if (image === undefined) throw new AppError('not_found', `There is no image "${tag}".`);
      if (image.used_by.length > 0 && !force)
        throw new AppError('conflict', `The service ${image.used_by.join()} uses "${tag}".`);
    },
    usage: async (caller) => ({
      queued: [...tickets.values()].filter((one) => one.user === caller.login && one.state === 'queued')
        .length,
      running: 0,
      max_queued: 20,
      max_running: 2,
      images: images.get(caller.login)?.length ?? 0,
      bytes: 0,
    }),
    prune: async (options) => {
      note('prune', options);
      return { dry_run: options.dryRun, removed: [], kept: [], collection: { state: 'scheduled' } };
    },
  };
  return {
    desk,
    accounts: {
      find: async (uuid, key) => {
        const found = accounts.find((account) => account.uuid === uuid && account.key === key);
        return found && { login: found.login, admin: found.admin, env: found.env };
      },
    },
    asked,
    refuse: (error) => {
      refusal = error;
    },
    put,
    change: (id, change) => {
      const ticket = tickets.get(id);
      if (ticket === undefined) throw new Error(`there is no ticket ${id}`);
      tickets.set(id, { ...ticket, ...change });
    },
    remove: (id) => {
      tickets.delete(id);
    },
    log: (id, text, complete = false) => {
      const before = logs.get(id)?.text ?? Buffer.alloc(0);
      logs.set(id, { text: Buffer.concat([before, Buffer.from(text)]), complete });
    },
    image: (user, image) => {
      const whole: BuiltImage = {
        image: `registry:5000/${user}:${image.tag}`,
        digest,
        size: 1000,
        created_at: at,
        kind: undefined,
        source: undefined,
        base_digest: undefined,
        requirements: undefined,
        used_by: [],
        ...image,
      };
      images.set(user, [...(images.get(user) ?? []), whole]);
    },
  };
}
