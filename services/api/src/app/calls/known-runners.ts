import type { Bus, LiveMessage } from '@sluice/shared/bus';
import type { RunnerLogEntry, RunnerState } from '@sluice/shared/contracts';
import type { Logger } from '@sluice/shared/telemetry';
import type { RunnerClient } from '../../ports.ts';
import type { Directory } from '../directory.ts';

/** Runners whose logs are read for one answer; more of one service are not looked at. */
const loggedRunners = 32;

/** A service in this life of its: the uid changes when it is deleted and made again. */
export interface ServiceId {
  readonly name: string;
  readonly uid: string;
}

/** What the runners of a service printed. */
export interface RunnerLogs {
  /** Oldest first, of all runners together. */
  readonly entries: readonly RunnerLogEntry[];
  /** Runners that were asked. */
  readonly asked: number;
  /** Runners that did not answer. */
  readonly silent: number;
}

/** The warm runners that the scheduler told of. Hints are all there is: at the start nothing is known for a moment. */
export interface KnownRunners {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** The last state that was said of the service; undefined where none was. */
  runnersOf(service: ServiceId): RunnerState | undefined;
  /** The last `tail` lines of all its runners, those that have ended included while they answer. */
  logs(service: ServiceId, tail: number): Promise<RunnerLogs>;
  /** Calls back after each state that is said. */
  onState(listener: (state: RunnerState) => void): void;
}

export function createKnownRunners(deps: {
  readonly bus: Pick<Bus, 'hint' | 'listen'>;
  readonly client: Pick<RunnerClient, 'logs'>;
  readonly directory: Pick<Directory, 'get' | 'count'>;
  /** Names this api process in its hints. */
  readonly caller: string;
  readonly log: Logger;
}): KnownRunners {
  const states = new Map<string, RunnerState>();
  const listeners: ((state: RunnerState) => void)[] = [];
  const stopping = new AbortController();
  let listening: { stop(): Promise<void> } | undefined;

  const heard = (message: LiveMessage): void => {
    const state = message.payload as RunnerState;
    // A new service may be told of before the directory knows it; the end of an old one's runners after that.
    const current = deps.directory.get(state.service)?.uid;
    if (
      current !== undefined &&
      current !== state.service_uid &&
      states.get(state.service)?.service_uid === current
    )
      return;
    states.set(state.service, state);
    if (states.size > 2 * deps.directory.count() + 100) {
      for (const name of states.keys()) if (deps.directory.get(name) === undefined) states.delete(name);
    }
    for (const listener of listeners) listener(state);
  };
  const runnersOf = ({ name, uid }: ServiceId): RunnerState | undefined => {
    const state = states.get(name);
    return state?.service_uid === uid ? state : undefined;
  };

  return {
    start: async () => {
      listening = await deps.bus.listen(['runners.state'], heard);
      deps.bus.hint({ name: 'runners.ask', payload: { caller: deps.caller } });
    },
    stop: async () => {
      stopping.abort();
      await listening?.stop();
      listening = undefined;
    },
    runnersOf,
    logs: async (service, tail) => {
      const runners = (runnersOf(service)?.runners ?? []).filter(hasUrl).slice(-loggedRunners);
      const answers = await Promise.allSettled(
        runners.map((runner) => deps.client.logs(runner, tail, stopping.signal)),
      );
      const read = answers.filter((one) => one.status === 'fulfilled').map(({ value }) => value);
      const entries = read.flat().sort((a, b) => a.at - b.at);
      return {
        entries: entries.slice(-tail),
        asked: runners.length,
        silent: runners.length - read.length,
      };
    },
    onState: (listener) => {
      listeners.push(listener);
    },
  };
}

type Runner = RunnerState['runners'][number];

function hasUrl(runner: Runner): runner is Runner & { readonly url: string } {
  return runner.url !== undefined;
}
