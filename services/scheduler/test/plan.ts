import { randomUUID } from 'node:crypto';
import type { AttemptPlan, ServiceDefinition } from '@sluice/shared/contracts';

/** A complete definition with OSCAR's zero values. */
export function definitionOf(more: Partial<ServiceDefinition> = {}): ServiceDefinition {
  return {
    name: 'demo',
    cluster_id: '',
    memory: '16Mi',
    cpu: '0.1',
    total_memory: '',
    total_cpu: '',
    ephemeral_storage_request: '',
    enable_gpu: false,
    enable_sgx: false,
    image_prefetch: false,
    synchronous: { min_scale: 0, max_scale: 0 },
    log_level: 'CRITICAL',
    image: 'busybox',
    alpine: false,
    token: '',
    file_stage_in: false,
    input: [],
    output: [],
    script: 'true\n',
    expose: {
      min_scale: 0,
      max_scale: 0,
      cpu_threshold: 0,
      rewrite_target: false,
      default_command: false,
      set_auth: false,
      health_path: '',
    },
    environment: { variables: {}, secrets: {} },
    annotations: {},
    vo: '',
    labels: {},
    owner: 'cluster_admin',
    interlink_node_name: '',
    visibility: 'private',
    allowed_users: [],
    isolation_level: '',
    bucket_list: [],
    mount: { storage_provider: '', path: '' },
    ...more,
  };
}

/** A first attempt of a fresh run with this script. */
export function planOf(script: string): AttemptPlan {
  return {
    run_id: `demo-${randomUUID()}`,
    attempt: 1,
    service_uid: 'uid',
    service_version: 1,
    definition: definitionOf(),
    script,
    secrets: { token: '0'.repeat(64), environment: {} },
    event: { kind: 'inline', encoding: 'utf8', data: '{}' },
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    hop: 0,
    timeout_ms: 60_000,
  };
}
