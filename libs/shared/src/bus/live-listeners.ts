import { catalogue, hints, type HintName, type MessageName } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Bus, LiveMessage } from './port.ts';

/** Who listens in this process, by name. */
export interface LiveListeners {
  /** @throws AppError `invalid_input` for the name of a command, or of nothing */
  add(
    names: readonly (MessageName | HintName)[],
    listener: Listener,
    onGap?: () => void,
  ): Awaited<ReturnType<Bus['listen']>>;
  /** Tells whoever listens. Costs nothing where nobody does. */
  say(message: {
    readonly id?: string;
    readonly name: MessageName | HintName;
    readonly key?: string;
    /** The payload: every listener gets one of its own. */
    readonly json: string;
  }): void;
  /** Tells those who want to know that something may have been missed. */
  gap(): void;
}

type Listener = (message: LiveMessage) => void;

export function createLiveListeners(log: Logger): LiveListeners {
  const byName = new Map<string, Set<Listener>>();
  const gapListeners = new Set<() => void>();
  return {
    add: (names, listener, onGap) => {
      for (const name of names) checkName(name);
      // One of its own for each call: a listener may be added twice.
      const own: Listener = (message) => listener(message);
      for (const name of names) byName.set(name, (byName.get(name) ?? new Set()).add(own));
      const ownGap = (): void => onGap?.();
      gapListeners.add(ownGap);
      return {
        stop: async () => {
          for (const name of names) byName.get(name)?.delete(own);
          gapListeners.delete(ownGap);
        },
      };
    },
    say: ({ id, name, key, json }) => {
      for (const listener of byName.get(name) ?? []) {
        try {
          listener({ id, name, key, payload: JSON.parse(json) });
        } catch (error) {
          log.error({ err: error, message_name: name }, 'listener failed');
        }
      }
    },
    gap: () => {
      for (const listener of gapListeners) {
        try {
          listener();
        } catch (error) {
          log.error({ err: error }, 'listener failed');
        }
      }
    },
  };
}

function checkName(name: MessageName | HintName): void {
  if (Object.hasOwn(hints, name)) return;
  if (Object.hasOwn(catalogue, name) && catalogue[name as MessageName].kind === 'evt') return;
  throw new AppError('invalid_input', `${name} is no event and no hint: it cannot be listened to.`, {
    field: 'names',
  });
}
