import type { Msg, MsgHdrs, Subscription } from '@nats-io/transport-node';
import type { Bus } from '../bus/index.ts';
import { createLiveListeners } from '../bus/live-listeners.ts';
import type { MessageCodec } from '../bus/message-codec.ts';
import { catalogue, type HintName, hints, hintSubject, type MessageName } from '../contracts/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Nats } from './nats-connection.ts';
import { decodeText, encodeText, headerNames, type NatsNames } from './nats-names.ts';

export interface LiveOptions {
  readonly nats: Nats;
  readonly names: NatsNames;
  readonly namespace: string;
  readonly codec: MessageCodec;
  readonly headers: () => MsgHdrs;
  readonly log: Logger;
}

export interface NatsLive extends Pick<Bus, 'hint' | 'listen'> {
  close(): void;
}

type LiveName = MessageName | HintName;

/** One subscription a name, however many listen to it, and none where nobody does. */
interface Heard {
  listeners: number;
  readonly subscription: Subscription;
}

/**
 * What is said to whoever listens: hints as they are published, events as the server repeats them once they are stored, so that none is
 * heard twice or that was refused.
 */
export function createNatsLive(options: LiveOptions): NatsLive {
  const { nats, namespace, codec, log } = options;
  const live = createLiveListeners(log);
  const heard = new Map<LiveName, Heard>();
  const join = (name: LiveName): void => {
    const there = heard.get(name) ?? { listeners: 0, subscription: subscribe(name, live.say, options) };
    there.listeners += 1;
    heard.set(name, there);
  };
  const leave = (name: LiveName): void => {
    const there = heard.get(name);
    if (there === undefined) return;
    there.listeners -= 1;
    if (there.listeners > 0) return;
    heard.delete(name);
    if (!nats.connection.isClosed()) there.subscription.unsubscribe();
  };
  const unwatch = nats.onChange({ back: () => void tellGap(nats, live.gap, log) });
  return {
    hint: (hint) => {
      const json = codec.encodeHint(hint);
      // While the connection is away it is lost, as promised.
      if (!nats.connected() || nats.connection.isClosed()) return;
      const headers = options.headers();
      headers.set(headerNames.name, hint.name);
      if (hint.key !== undefined) headers.set(headerNames.key, encodeText(hint.key));
      nats.connection.publish(hintSubject(namespace, hint.name, hint.key), json, { headers });
    },
    listen: async (names, listener, onGap) => {
      const { stop } = live.add(names, listener, onGap);
      const mine = new Set(names);
      for (const name of mine) join(name);
      let stopped = false;
      const end = async (): Promise<void> => {
        if (stopped) return;
        stopped = true;
        await stop();
        for (const name of mine) leave(name);
      };
      try {
        // From now on: once the server knows.
        await nats.flush();
      } catch (error) {
        await end();
        throw error;
      }
      return { stop: end };
    },
    close: () => {
      unwatch();
      for (const { subscription } of heard.values()) {
        if (!nats.connection.isClosed()) subscription.unsubscribe();
      }
      heard.clear();
    },
  };
}

/** The package subscribes again by itself; once the server has answered after that, what comes next is heard. */
async function tellGap(nats: Nats, gap: () => void, log: Logger): Promise<void> {
  try {
    await nats.flush();
  } catch (error) {
    // Lost again: the next time it is back says it.
    log.debug({ err: error }, 'NATS lost again');
    if (!nats.connected()) return;
  }
  gap();
}

function subscribe(
  name: LiveName,
  say: ReturnType<typeof createLiveListeners>['say'],
  { nats, names, namespace, codec, log }: LiveOptions,
): Subscription {
  const keyed = isHint(name) ? hints[name].keyed : catalogue[name].keyed;
  const base = isHint(name) ? hintSubject(namespace, name) : names.subject('live', name);
  return nats.connection.subscribe(keyed ? `${base}.*` : base, {
    callback: (failure, raw) => {
      if (failure !== null) return;
      try {
        say(toLive(name, keyed, raw, codec));
      } catch (error) {
        log.warn({ err: error, message_name: name }, 'live message not understood');
      }
    },
  });
}

function toLive(name: LiveName, keyed: boolean, { subject, headers, data }: Msg, codec: MessageCodec): Said {
  const json = Buffer.from(data).toString();
  if (isHint(name)) codec.decodeHint(name, json);
  else codec.decode(name, json);
  const header = (which: string): string => decodeText(headers?.get(which) ?? '');
  const key = header(headerNames.key) || subject.split('.').at(-1) || '';
  return {
    name,
    json,
    ...(isHint(name) ? {} : { id: header(headerNames.id) }),
    ...(keyed ? { key } : {}),
  };
}

type Said = Parameters<ReturnType<typeof createLiveListeners>['say']>[0];

function isHint(name: LiveName): name is HintName {
  return Object.hasOwn(hints, name);
}
