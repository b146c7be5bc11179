import { randomUUID } from 'node:crypto';
import {
  runnerCallHeader,
  runnerResultHeader,
  runnerToken,
  type RunnerCall,
  type RunnerPlan,
} from '@sluice/shared/contracts';
import { smallDefinition } from './plan.ts';

export interface RunnerAnswer {
  readonly status: number;
  /** Null where nothing was started. */
  readonly result: string | null;
  readonly text: string;
}

export function runnerPlanOf(script: string): RunnerPlan {
  return {
    runner_id: `demo-${randomUUID()}`,
    service_uid: 'uid',
    service_version: 1,
    definition: smallDefinition({ script }),
    script,
    secrets: { token: '0'.repeat(64), environment: {} },
  };
}

/** One call over HTTP, as the api makes it. */
export async function invokeRunner(
  runner: { readonly url: string; readonly token: string },
  more: { body?: string; timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<RunnerAnswer> {
  const call: RunnerCall = {
    call_id: `call-${randomUUID()}`,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    timeout_ms: more.timeoutMs ?? 60_000,
    method: 'POST',
    path: '/run/demo',
    query: 'a=1',
    headers: { 'x-test': 'yes' },
  };
  const response = await fetch(`${runner.url}/invoke`, {
    method: 'POST',
    body: more.body ?? '{}',
    headers: {
      authorization: `Bearer ${runner.token}`,
      [runnerCallHeader]: Buffer.from(JSON.stringify(call)).toString('base64url'),
    },
    ...(more.signal === undefined ? {} : { signal: more.signal }),
  });
  const result = response.headers.get(runnerResultHeader);
  return { status: response.status, result, text: await response.text() };
}

export function reachable(key: string, id: string, url: string): { url: string; token: string } {
  return { url, token: runnerToken(key, id) };
}
