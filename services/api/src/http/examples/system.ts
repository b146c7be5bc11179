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
