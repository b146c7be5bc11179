import type { Example } from '../route-doc.ts';

const name = { name: 'thumbnail' };
const script = '#!/bin/sh\nset -e\nconvert "$INPUT_FILE_PATH" -resize 200x "$TMP_OUTPUT_DIR/small.png"\n';
const input = [{ storage_provider: 'minio.default', path: 'thumbnail/in', suffix: ['jpg', 'png'] }];
const output = [{ storage_provider: 'minio.default', path: 'thumbnail/out' }];

/** What the server answers with: everything that was not sent has its default. */
const thumbnail = {
  name: 'thumbnail',
  cluster_id: '',
  memory: '512Mi',
  cpu: '0.5',
  total_memory: '',
  total_cpu: '',
  ephemeral_storage_request: '',
  enable_gpu: false,
  enable_sgx: false,
  image_prefetch: false,
  synchronous: { min_scale: 0, max_scale: 0 },
  log_level: 'INFO',
  image: 'ghcr.io/example/imagemagick',
  alpine: false,
  token: '6c1f0b9d2f7e4a5cb8d1e3f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a',
  file_stage_in: false,
  input,
  output,
  script,
  expose: {
    min_scale: 1,
    max_scale: 10,
    cpu_threshold: 80,
    rewrite_target: false,
    default_command: false,
    set_auth: false,
    health_path: '/',
  },
  environment: { variables: { QUALITY: '80' }, secrets: {} },
  annotations: {},
  vo: '',
  labels: {},
  storage_providers: {
    minio: {
      default: {
        endpoint: '',
        verify: true,
        access_key: 'hidden',
        secret_key: 'hidden',
        region: 'us-east-1',
      },
    },
  },
  owner: 'cluster_admin',
  namespace: 'oscar-svc',
  interlink_node_name: '',
  visibility: 'private',
  allowed_users: [],
  isolation_level: 'SERVICE',
  bucket_list: [],
  mount: { storage_provider: '', path: '' },
  volume_status: { enabled: false },
};

export const serviceExamples = {
  create: {
    body: {
      name: 'grayscale',
      image: 'ghcr.io/example/imagemagick',
      script,
      input: [{ storage_provider: 'minio.default', path: 'grayscale/in', suffix: ['jpg', 'png'] }],
      output: [{ storage_provider: 'minio.default', path: 'grayscale/out' }],
      memory: '512Mi',
      cpu: '0.5',
      environment: { variables: { QUALITY: '80' } },
      sluice: { timeout: 600, script_retries: 1 },
    },
    status: 201,
  },
  update: {
    body: { name: 'thumbnail', image: 'ghcr.io/example/imagemagick', script, input, output, cpu: '1.0' },
    status: 204,
  },
  list: { status: 200, response: [thumbnail] },
  read: { params: name, status: 200, response: thumbnail },
  remove: { params: name, query: { keep_buckets: 'true' }, status: 204 },
  backfill: {
    params: name,
    body: { prefix: 'thumbnail/in/2026', again: false },
    status: 202,
    response: { backfill_id: '0f8fad5b-d9cb-469f-a165-70867728950e' },
  },
} as const satisfies Record<string, Example>;

const job = { service: 'thumbnail', run: 'thumbnail-5b2e' };

export const callExample = {
  params: name,
  body: 'aGVsbG8=',
  status: 200,
  response: 'aGVsbG8=',
} as const satisfies Example;

export const jobExamples = {
  submit: {
    params: name,
    headers: { 'Idempotency-Key': 'order-4711' },
    body: '{"order": 4711}',
    status: 201,
  },
  list: {
    params: { service: 'thumbnail' },
    status: 200,
    response: {
      jobs: {
        'thumbnail-5b2e': {
          status: 'Succeeded',
          creation_time: '2026-01-02T03:04:05Z',
          start_time: '2026-01-02T03:04:06Z',
          finish_time: '2026-01-02T03:04:07Z',
        },
      },
    },
  },
  removeMany: { params: { service: 'thumbnail' }, query: { all: 'true' }, status: 204 },
  log: { params: job, query: { timestamps: 'false' }, status: 200, response: 'resizing photo.jpg\ndone\n' },
  remove: { params: job, status: 204 },
} as const satisfies Record<string, Example>;
