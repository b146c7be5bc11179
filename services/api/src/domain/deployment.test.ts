import type { RunnerState } from '@sluice/shared/contracts';
import { definitionOf } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { deploymentOf } from './deployment.ts';

const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const stored = (annotations: Record<string, string> = {}) => ({
  definition: definitionOf('demo', { annotations }),
  updated_at: at,
});
const runner = (state: RunnerState['runners'][number]['state'], index = 0) => ({
  id: `r${index}`,
  state,
  service_version: 1,
});
const said = (changes: Partial<RunnerState>): RunnerState => ({
  service: 'demo',
  service_uid: 'u',
  state: 'ready',
  reason: '',
  desired: 0,
  limit: 4,
  runners: [],
  since: at,
  ...changes,
});
const time = '2026-01-02T03:04:05Z';

test('nothing said: unavailable, in OSCAR’s words', () => {
  expect(deploymentOf(stored(), undefined)).toEqual({
    state: 'unavailable',
    reason: 'Current deployment visibility is unavailable for this service runtime.',
    active_instances: 0,
    affected_instances: 0,
    resource_kind: 'unavailable',
  });
});

test.each([
  ['ready without a runner', said({}), 'ready', 'Runtime service is ready.', 0, 0],
  [
    'ready with two, one of the old version ended',
    said({ desired: 2, runners: [runner('ended'), runner('ready'), runner('ready')] }),
    'ready',
    'Runtime service is ready.',
    2,
    0,
  ],
  [
    'pending',
    said({ state: 'pending', desired: 1, runners: [runner('starting')] }),
    'pending',
    'Runtime service is still reconciling.',
    1,
    1,
  ],
  [
    'degraded',
    said({ state: 'degraded', desired: 3, runners: [runner('ready'), runner('starting')] }),
    'degraded',
    '2 of 3 instances are affected.',
    2,
    2,
  ],
  [
    'failed, with why',
    said({ state: 'failed', desired: 1, reason: 'image\t not  found\nsecond line' }),
    'failed',
    'image not found',
    0,
    1,
  ],
  [
    'failed, nobody knows why',
    said({ state: 'failed', desired: 1 }),
    'failed',
    'Runtime service is not ready.',
    0,
    1,
  ],
  [
    'started a moment ago',
    said({ state: 'stopped', reason: 'stopped by its annotation' }),
    'pending',
    'Runtime service is still reconciling.',
    0,
    0,
  ],
])('%s', (_name, runners, state, reason, active, affected) => {
  expect(deploymentOf(stored({ 'oscar.grycap.io/stopped': 'false' }), runners)).toEqual({
    state,
    reason,
    last_transition_time: time,
    active_instances: active,
    affected_instances: affected,
    resource_kind: 'knative_service',
  });
});

test.each([undefined, said({}), said({ state: 'stopped' }), said({ state: 'failed' })])(
  'a stop shows at once, whatever was said: %j',
  (runners) => {
    expect(deploymentOf(stored({ 'oscar.grycap.io/stopped': 'true' }), runners)).toMatchObject({
      state: 'stopped',
      reason: 'Deployment is stopped.',
      last_transition_time: time,
      affected_instances: 0,
    });
  },
);
