import { request, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { eventually } from '@sluice/shared/testing';
import { adminHeader, type Fixture } from './fixture.ts';

export interface ReadEvent {
  readonly event?: string;
  readonly id?: string;
  readonly data?: string;
  readonly comment?: string;
}

/** Reads a stream of server-sent events as a client does. */
export interface EventReader {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** All messages up to now, comments included. */
  readonly seen: readonly ReadEvent[];
  /** Those with data. */
  said(): readonly ReadEvent[];
  /** Waits until so many messages with data are here. */
  until(count: number): Promise<readonly ReadEvent[]>;
  ended(): boolean;
  /** The id that a client would send as `Last-Event-ID`. */
  lastId(): string;
  pause(): void;
  resume(): void;
  /** Drops the connection. */
  drop(): void;
}

export async function openEvents(
  api: Fixture,
  path: string,
  options: { readonly as?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<EventReader> {
  const { as, headers = {} } = options;
  const authorization = as === undefined ? adminHeader : `Bearer ${as}`;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const call = request({
    port: api.api.address().port,
    path,
    agent: false,
    headers: { authorization, ...headers },
  });
  call.on('response', resolve).on('error', reject);
  call.end();
  return readEvents(call, await promise);
}

function readEvents(call: ClientRequest, response: IncomingMessage): EventReader {
  const seen: ReadEvent[] = [];
  let rest = '';
  let ended = false;
  response.setEncoding('utf8');
  response.on('data', (text: string) => {
    const blocks = (rest + text).split('\n\n');
    rest = blocks.pop() ?? '';
    seen.push(...blocks.map((block) => parse(block)));
  });
  response.on('close', () => {
    ended = true;
  });
  response.on('error', () => undefined);
  const said = () => seen.filter(({ data }) => data !== undefined);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    seen,
    said,
    until: async (count) =>
      eventually(`${count} messages`, () => (said().length >= count ? said() : undefined), 10_000),
    ended: () => ended,
    lastId: () => seen.findLast(({ id }) => id !== undefined)?.id ?? '',
    pause: () => response.pause(),
    resume: () => response.resume(),
    drop: () => call.destroy(),
  };
}

function parse(block: string): ReadEvent {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    const [, name = '', value = ''] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
    const before = name === 'data' ? fields.get('data') : undefined;
    fields.set(name === '' ? 'comment' : name, before === undefined ? value : `${before}\n${value}`);
  }
  return Object.fromEntries(fields);
}
