import type { Example } from '../route-doc.ts';

const params = { name: 'thumbnail' };
const deployment = {
  service_name: 'thumbnail',
  namespace: 'oscar-svc',
  state: 'ready',
  reason: 'Runtime service is ready.',
  last_transition_time: '2026-01-02T03:04:05Z',
  active_instances: 1,
  affected_instances: 0,
  resource_kind: 'knative_service',
};

export const deploymentExamples = {
  read: { params, status: 200, response: deployment },
  logs: {
    params,
    query: { timestamps: 'true', tailLines: '100' },
    status: 200,
    response: {
      service_name: 'thumbnail',
      available: true,
      entries: [{ timestamp: '2026-01-02T03:04:05Z', message: 'resizing photo.jpg' }],
    },
  },
  stop: {
    params,
    status: 200,
    response: { ...deployment, state: 'stopped', reason: 'Deployment is stopped.', active_instances: 0 },
  },
  start: {
    params,
    status: 200,
    response: {
      ...deployment,
      state: 'pending',
      reason: 'Runtime service is still reconciling.',
      active_instances: 0,
    },
  },
  restart: { params, status: 200, response: deployment },
  auth: { params, status: 200 },
} as const satisfies Record<string, Example>;
