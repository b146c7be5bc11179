import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import {
  runnerCallHeader,
  runnerResultHeader,
  runnerToken,
  type RunnerCall,
  type RunnerPlan,
} from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import {
  createRunnerServer,
  type RunnerServer,
  type RunnerServerLimits,
  type RunnerServerOptions,
} from '../../src/index.ts';
import type { SupervisorStore } from './memory-store.ts';
import { createHarness, testPlan, type Harness, type PlanOptions } from './support.ts';

const key = 'k'.repeat(43);

export interface Answer {
  readonly status: number;
  readonly result: string | null;
  readonly headers: Headers;
  readonly text: string;
}

export interface OpenRunner {
  readonly id: string;
  readonly url: string;
  readonly token: string;
  readonly plan: RunnerPlan;
  invoke(
    body?: string | Uint8Array,
    more?: { call?: Partial<RunnerCall>; token?: string; signal?: AbortSignal },
  ): Promise<Answer>;
  logs(query?: string): Promise<{ at: number; message: string }[]>;
}

export interface RunnerHarness {
  readonly harness: Harness;
  readonly server: RunnerServer;
  open(script: string, definition?: PlanOptions['definition']): OpenRunner;
  close(): Promise<void>;
}

/** A runner server with real scripts. */
export async function createRunnerHarness(
  objects: SupervisorStore,
  limits: Partial<RunnerServerLimits> = {},
  at: Pick<RunnerServerOptions, 'listen' | 'url'> = {},
): Promise<RunnerHarness> {
  const harness = createHarness(objects);
  const server = createRunnerServer({
    perform: harness.supervisor.perform,
    key,
    workRoot: join(harness.dir, 'work'),
    clock: systemClock,
    log: silentLogger(),
    limits,
    ...at,
  });
  await server.start();
  return {
    harness,
    server,
    open: (script, definition = {}) => {
      const { service_uid, service_version, secrets, ...plan } = testPlan({
        definition: { log_level: 'CRITICAL', output: [], ...definition },
      });
      const runnerPlan: RunnerPlan = {
        runner_id: `demo-${randomUUID()}`,
        service_uid,
        service_version,
        definition: plan.definition,
        script,
        secrets,
      };
      return openRunner(server, harness, runnerPlan);
    },
    close: async () => {
      await server.stop(0);
      await harness.close();
    },
  };
}

function openRunner(server: RunnerServer, harness: Harness, plan: RunnerPlan): OpenRunner {
  const { url } = server.open(plan, { scripts: harness.scripts });
  const token = runnerToken(key, plan.runner_id);
  return {
    id: plan.runner_id,
    url,
    token,
    plan,
    invoke: async (body = '{}', more = {}) => {
      const response = await fetch(`${url}/invoke`, {
        method: 'POST',
        body: typeof body === 'string' ? body : new Blob([Uint8Array.from(body)]),
        headers: {
          authorization: `Bearer ${more.token ?? token}`,
          [runnerCallHeader]: callHeader(more.call),
        },
        ...(more.signal === undefined ? {} : { signal: more.signal }),
      });
      return {
        status: response.status,
        result: response.headers.get(runnerResultHeader),
        headers: response.headers,
        text: await response.text(),
      };
    },
    logs: async (query = '') => {
      const response = await fetch(`${url}/logs${query}`, { headers: { authorization: `Bearer ${token}` } });
      return ((await response.json()) as { entries: { at: number; message: string }[] }).entries;
    },
  };
}

export function callHeader(more: Partial<RunnerCall> = {}): string {
  const call: RunnerCall = {
    call_id: `call-${randomUUID()}`,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    timeout_ms: 30_000,
    method: 'POST',
    path: '/run/demo',
    query: '',
    headers: {},
    ...more,
  };
  return Buffer.from(JSON.stringify(call)).toString('base64url');
}
