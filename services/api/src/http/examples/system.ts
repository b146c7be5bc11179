import type { Example } from '../route-doc.ts';

export const systemExamples = {
  health: { status: 200, response: 'Ok' },
  info: {
    status: 200,
    response: { version: '0.1.0', git_commit: '', architecture: 'amd64', kubernetes_version: '' },
  },
  config: {
    status: 200,
    response: {
      config: {
        name: 'oscar',
        namespace: '',
        services_namespace: 'oscar-svc',
        controller_service_account: '',
        gpu_available: false,
        interLink_available: false,
        yunikorn_enable: false,
        kueue_enable: false,
        volume_enable: false,
        oidc_groups: [],
        minio_quota_enabled: false,
      },
      minio_provider: { endpoint: '', verify: true, access_key: '', secret_key: '', region: '' },
      allowed_image_repositories: [],
    },
  },
  setConfig: {
    body: { allowed_image_repositories: ['ghcr.io/example'] },
    status: 200,
    response: ['ghcr.io/example'],
  },
  status: {
    status: 200,
    response: {
      cluster: {
        nodes_count: 1,
        metrics: {
          cpu: {
            total_free_cores: 2500,
            max_free_on_node_cores: 2500,
            total_schedulable_cores: 3800,
            total_schedulable_on_node_cores: 3800,
          },
          memory: {
            total_free_bytes: 6442450944,
            max_free_on_node_bytes: 6442450944,
            total_schedulable_bytes: 8321499136,
            max_schedulable_on_node_bytes: 8321499136,
          },
          gpu: { total_gpu: 0 },
        },
        nodes: [
          {
            name: 'machine',
            cpu: { capacity_cores: 4000, usage_cores: 1500, request_cores: 200 },
            memory: { capacity_bytes: 8589934592, usage_bytes: 2147483648, request_bytes: 268435456 },
            gpu: 0,
            is_interlink: false,
            status: 'Ready',
            conditions: [{ type: 'Ready', status: true }],
          },
        ],
      },
      oscar: {
        deployment_name: 'oscar',
        ready: true,
        deployment: {
          available_replicas: 1,
          ready_replicas: 1,
          replicas: 1,
          creation_timestamp: '2026-01-02T03:04:05Z',
          strategy: 'Recreate',
          labels: { app: 'oscar' },
        },
        jobs_count: 44,
        pods: {
          total: 44,
          states: { Failed: 2, Pending: 0, Running: 1, Succeeded: 41, Unknown: 0 },
        },
        oidc: { enabled: false, issuers: [], groups: [] },
      },
      minio: { buckets_count: 1, total_objects: 83 },
    },
  },
  logs: {
    query: { timestamps: 'false' },
    status: 200,
    response: {
      logs: [
        {
          timestamp: '2026-01-02T03:04:05.678Z',
          status: 201,
          latency: '14.219292ms',
          client_ip: '203.0.113.7',
          method: 'POST',
          path: '/job/thumbnail',
          user: 'oscar',
          raw: '[GIN-EXECUTIONS-LOGGER] 2026-01-02T03:04:05.678Z | 201 |   14.219292ms | 203.0.113.7 | POST    /job/thumbnail | oscar',
        },
      ],
    },
  },
  overview: {
    status: 200,
    response: {
      version: '0.1.0',
      adapters: { bus: { adapter: 'sqlite', chosen_by: 'the only one of this version' } },
      runs: {
        queued: 0,
        starting: 0,
        running: 1,
        succeeded: 41,
        failed: 2,
        cancelled: 0,
        superseded: 0,
      },
      services: 1,
      dead_letters: 0,
      slots: { used: 1, limit: 4 },
      buckets_path: '/var/lib/sluice/buckets',
    },
  },
  checks: {
    status: 200,
    response: {
      ok: false,
      checks: [
        { name: 'api', ok: true, severity: 'warning', message: 'One process.' },
        {
          name: 'scheduler',
          ok: false,
          severity: 'error',
          message: 'No scheduler has been heard for 30 s.',
          mend: 'Is it running, and does it use the same NATS_URL and SLUICE_NAMESPACE?',
        },
      ],
      processes: [
        {
          component: 'api',
          instance: '0b54ae59',
          version: '0.1.0',
          started_at: '2026-01-02T03:04:05.678Z',
          heard_at: '2026-01-02T03:14:05.678Z',
          checks: [{ name: 'bus', ok: true, severity: 'warning', message: 'Answers.' }],
        },
      ],
    },
  },
  metrics: {
    status: 200,
    response: '# HELP sluice_runs Runs by state.\n# TYPE sluice_runs gauge\nsluice_runs{state="running"} 1\n',
  },
} as const satisfies Record<string, Example>;

const letter = { id: 'thumbnail-5b2e.1.start' };

export const deadLetterExamples = {
  list: {
    query: { limit: '10' },
    status: 200,
    response: {
      dead_letters: [
        {
          id: 'thumbnail-5b2e.1.start',
          message_id: 'thumbnail-5b2e.1.start',
          name: 'runs.start',
          key: 'thumbnail',
          consumer: 'scheduler-start',
          reason: 'the service has no script',
          attempts: 8,
          dead_at: '2026-01-02T03:04:05.678Z',
          payload: { run_id: 'thumbnail-5b2e', service: 'thumbnail', attempt: 1 },
        },
      ],
    },
  },
  redrive: { params: letter, status: 202, response: { message_id: 'thumbnail-5b2e.1.start.r1' } },
  remove: { params: letter, status: 204 },
} as const satisfies Record<string, Example>;
