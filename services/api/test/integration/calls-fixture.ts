import type { RunnerDemand } from '@sluice/shared/contracts';
import { fakeRunner, sayRunners, type FakeRunner, type Invocation } from './fake-runner.ts';
import { startFixture, type Answer, type Call, type Fixture } from './fixture.ts';

type Manner = (invocation: Invocation) => void | Promise<void>;

/** A service that a test calls. */
export interface CalledService {
  readonly name: string;
  readonly uid: string;
  readonly token: string;
  call(call?: Call, query?: string): Promise<Answer>;
  /** Starts runners of these manners and tells of them. */
  runners(...manners: Manner[]): Promise<readonly FakeRunner[]>;
  /** The last that was said of it. */
  demand(): RunnerDemand | undefined;
  /** Who asked for its runners. */
  callers(): ReadonlySet<string>;
}

export interface CallsFixture {
  readonly api: Fixture;
  /** Ended by `endRunners`. */
  readonly started: FakeRunner[];
  service(extra?: object): Promise<CalledService>;
  endRunners(): Promise<void>;
}

/** An api, services and runners that a test gives their manners. */
export async function startCalls(env: Record<string, string> = {}): Promise<CallsFixture> {
  const api = await startFixture({ env });
  const started: FakeRunner[] = [];
  const demands: RunnerDemand[] = [];
  let number = 0;
  await api.bus.listen(['runners.demand'], ({ payload }) => {
    demands.push(payload as RunnerDemand);
  });
  return {
    api,
    started,
    service: async (extra = {}) => {
      number += 1;
      const name = `calls-${number}`;
      const token = await api.service(name, extra);
      const uid = (await api.definitions.get(name))?.uid ?? '';
      return {
        name,
        uid,
        token,
        call: (call = {}, query = '') => api.call('POST', `/run/${name}${query}`, { as: token, ...call }),
        runners: async (...manners) => {
          const made = await Promise.all(manners.map((one, index) => fakeRunner(`${name}-r${index}`, one)));
          started.push(...made);
          sayRunners(
            api.bus,
            { name, uid },
            made.map(({ entry }) => entry),
          );
          return made;
        },
        demand: () => demands.findLast((demand) => demand.service_uid === uid),
        callers: () =>
          new Set(demands.filter((demand) => demand.service_uid === uid).map(({ caller }) => caller)),
      };
    },
    endRunners: async () => {
      for (const runner of started.splice(0)) await runner.close();
    },
  };
}

export const echo = ({ body, succeed }: Invocation): void => {
  succeed(body.toString('latin1'));
};
