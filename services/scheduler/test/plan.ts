import { randomUUID } from 'node:crypto';
import type { AttemptPlan, ServiceDefinition } from '@sluice/shared/contracts';
import { definitionOf } from '@sluice/shared/testing';

/** A small service without input and output. */
export function smallDefinition(more: Partial<ServiceDefinition> = {}): ServiceDefinition {
  return definitionOf(more.name ?? 'demo', {
    memory: '16Mi',
    cpu: '0.1',
    log_level: 'CRITICAL',
    image: 'busybox',
    input: [],
    output: [],
    script: 'true\n',
    ...more,
  });
}

/** A first attempt of a fresh run with this script. */
export function planOf(script: string): AttemptPlan {
  return {
    run_id: `demo-${randomUUID()}`,
    attempt: 1,
    service_uid: 'uid',
    service_version: 1,
    definition: smallDefinition(),
    script,
    secrets: { token: '0'.repeat(64), environment: {} },
    event: { kind: 'inline', encoding: 'utf8', data: '{}' },
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    hop: 0,
    timeout_ms: 60_000,
  };
}
