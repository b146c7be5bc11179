import type { Example } from '../route-doc.ts';

const id = '550e8400-e29b-41d4-a716-446655440000';
const working = '7d444840-9dc0-41d1-b245-5ffdce74fad2';
const key = 'd2a84f4b8b650937ec8f73cd8be2c74add5a911ba64df27458ed8229da804a26';
const digest = 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';
const json = { 'Content-Type': 'application/json' };

const built = {
  id,
  job_name: `build-oscar-${id}`,
  user: 'oscar',
  build: '0f8fad5b-d9cb-469f-a165-70867728950e',
  state: 'succeeded',
  progress: { done: 4, total: 4 },
  kind: 'python',
  source: 'docker.io/library/python:3.12',
  target: 'oscar:numpy',
  image: 'registry:5000/oscar:numpy',
  pushed: 'registry:5000/oscar:numpy',
  digest,
  size: 52_428_800,
  requirements: '4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce',
  reused: false,
  created_at: '2026-01-02T03:04:05.678Z',
  started_at: '2026-01-02T03:04:06.012Z',
  ended_at: '2026-01-02T03:04:31.345Z',
};

export const buildExamples = {
  list: { query: { limit: '10', state: 'succeeded' }, status: 200, response: { builds: [built] } },
  usage: {
    status: 200,
    response: { queued: 0, running: 1, max_queued: 20, max_running: 2, images: 1, bytes: 52_428_800 },
  },
  read: { params: { id }, status: 200, response: built },
  cancel: {
    params: { id: working },
    status: 200,
    response: { ...built, id: working, state: 'cancelled', message: 'cancelled by its owner' },
  },
  log: {
    params: { id },
    query: { offset: '0' },
    status: 200,
    response:
      '{"offset":49,"time":"2026-01-02T03:04:07.101Z","line":"#5 collecting numpy"}\n' +
      `{"event":"end","id":"${id}","state":"succeeded","image":"registry:5000/oscar:numpy","digest":"${digest}"}\n`,
  },
} as const satisfies Record<string, Example>;

const image = {
  tag: 'numpy',
  image: 'registry:5000/oscar:numpy',
  digest,
  size: 52_428_800,
  created_at: '2026-01-02T03:04:30.000Z',
  kind: 'python',
  source: 'docker.io/library/python:3.12',
  requirements: built.requirements,
  used_by: ['thumbnail'],
};

export const imageExamples = {
  list: { status: 200, response: { images: [image] } },
  read: { params: { tag: 'numpy' }, status: 200, response: image },
  remove: { params: { tag: 'numpy' }, query: { force: 'true' }, status: 204 },
  prune: {
    query: { dry_run: 'true' },
    status: 200,
    response: {
      dry_run: true,
      removed: [{ image: 'oscar:old', why: 'older than 90 days' }],
      kept: [{ image: 'oscar:numpy', why: 'used by service thumbnail' }],
    },
  },
} as const satisfies Record<string, Example>;

const started = { id, job_name: `build-oscar-${id}` };
const status = {
  ...started,
  phase: 'Succeeded',
  active: 0,
  succeeded: 1,
  failed: 0,
  startTime: '2026-01-02T03:04:06Z',
  completionTime: '2026-01-02T03:04:31Z',
  state: 'succeeded',
  image: built.image,
  digest,
  reason: null,
};
const ensured = {
  id: key,
  job_name: `build-oscar-${key}`,
  state: 'queued',
  message: 'Build queued',
  image: null,
  digest: null,
};
const present = { ...ensured, state: 'succeeded', message: 'Build succeeded', image: built.image, digest };
/** What `ensure` answers where its example is not about that. */
export const ensuredExamples = {
  200: { status: 'ok', ...present, data: present },
  202: { status: 'ok', ...ensured, data: ensured },
} as const;
const builders = [{ id: 'python', kind: 'python' }];

export const openServerlessExamples = {
  start: {
    headers: json,
    body: {
      source: 'docker.io/library/python:3.12',
      target: 'oscar:numpy',
      kind: 'python',
      file: 'bnVtcHk9PTIuMS4wCg==',
    },
    status: 200,
    response: {
      message: `Build process initiated successfully. Job: ${started.job_name}`,
      status: 'ok',
      ...started,
      data: started,
    },
  },
  cleanup: {
    headers: json,
    body: { max_age_hours: 24 },
    status: 200,
    response: { message: 'Cleaned up 0 jobs successfully.', status: 'ok' },
  },
  status: {
    query: { id },
    status: 200,
    response: { message: 'Build status retrieved successfully.', status: 'ok', ...status, data: status },
  },
  ensure: {
    headers: json,
    body: { builder: 'python', file: 'bnVtcHk9PTIuMS4wCg==', retry: true },
    status: 202,
    response: { status: 'ok', ...ensured, data: ensured },
  },
  capabilities: {
    status: 200,
    response: { message: 'Builder capabilities retrieved', status: 'ok', builders, data: { builders } },
  },
  read: { params: { id }, status: 200, response: built },
} as const satisfies Record<string, Example>;
