import type { Example } from '../route-doc.ts';

const done = { id: 'thumbnail-5b2e' };
const working = { id: 'thumbnail-7c41' };
const queued = {
  id: 'thumbnail-7c41',
  service: 'thumbnail',
  state: 'queued',
  attempt: 1,
  source: 'job',
  created_at: '2026-01-02T03:04:05.678Z',
  trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
  hop: 0,
  timeline: [{ at: '2026-01-02T03:04:05.678Z', state: 'queued', attempt: 1, message: 'accepted' }],
};
const succeeded = {
  ...queued,
  id: 'thumbnail-5b2e',
  state: 'succeeded',
  started_at: '2026-01-02T03:04:06.012Z',
  finished_at: '2026-01-02T03:04:07.345Z',
  exit_code: 0,
  timeline: [
    ...queued.timeline,
    { at: '2026-01-02T03:04:05.912Z', state: 'starting', attempt: 1 },
    { at: '2026-01-02T03:04:06.012Z', state: 'running', attempt: 1 },
    { at: '2026-01-02T03:04:07.345Z', state: 'succeeded', attempt: 1 },
  ],
};

export const runExamples = {
  list: {
    query: { service: 'thumbnail', state: 'succeeded,failed', limit: '10' },
    status: 200,
    response: { runs: [succeeded] },
  },
  read: { params: done, status: 200, response: succeeded },
  allEvents: {
    query: { service: 'thumbnail', state: 'succeeded,failed' },
    status: 200,
    response:
      'retry: 2000\nid: 9f1c2b7a4e05.17\n\nevent: run\nid: 9f1c2b7a4e05.18\n' +
      'data: {"run_id":"thumbnail-5b2e","service":"thumbnail","state":"succeeded","attempt":1,"at":"2026-01-02T03:04:07.345Z","exit_code":0}\n\n',
  },
  events: {
    params: done,
    status: 200,
    response:
      'retry: 2000\nid: 9f1c2b7a4e05.18\n\nevent: run\nid: 9f1c2b7a4e05.18\n' +
      'data: {"run_id":"thumbnail-5b2e","service":"thumbnail","state":"succeeded","attempt":1,"at":"2026-01-02T03:04:07.345Z","exit_code":0}\n\n' +
      'event: end\nid: end\n' +
      'data: {"run_id":"thumbnail-5b2e","service":"thumbnail","state":"succeeded","attempt":1,"at":"2026-01-02T03:04:07.345Z","exit_code":0}\n\n',
  },
  log: {
    params: done,
    query: { timestamps: 'true', offset: '0' },
    status: 200,
    response: '2026-01-02T03:04:06.112Z resizing photo.jpg\n2026-01-02T03:04:07.101Z done\n',
  },
  cancel: {
    params: working,
    status: 202,
    response: { ...queued, cancel_requested_at: '2026-01-02T03:04:06.789Z' },
  },
  retry: {
    params: done,
    headers: { 'Idempotency-Key': 'once-more' },
    status: 201,
    response: { ...queued, id: 'thumbnail-9d03', source: 'retry', user: 'oscar', retry_of: 'thumbnail-5b2e' },
  },
} as const satisfies Record<string, Example>;
