import type { ServiceDefinition } from '../contracts/index.ts';

/** A complete definition: every field that is always there, input from one folder. */
export function definitionOf(name: string, changes: Partial<ServiceDefinition> = {}): ServiceDefinition {
  const path = { storage_provider: 'minio.default', path: `${name}/in` };
  return {
    name,
    cluster_id: '',
    memory: '256Mi',
    cpu: '0.2',
    total_memory: '',
    total_cpu: '',
    ephemeral_storage_request: '',
    enable_gpu: false,
    enable_sgx: false,
    image_prefetch: false,
    synchronous: { min_scale: 0, max_scale: 0 },
    log_level: 'INFO',
    image: 'alpine',
    alpine: false,
    token: '',
    file_stage_in: false,
    input: [path],
    output: [],
    expose: {
      min_scale: 1,
      max_scale: 10,
      cpu_threshold: 80,
      rewrite_target: false,
      default_command: false,
      set_auth: false,
      health_path: '/',
    },
    environment: { variables: {}, secrets: {} },
    annotations: {},
    vo: '',
    labels: {},
    owner: 'cluster_admin',
    interlink_node_name: '',
    visibility: 'private',
    allowed_users: [],
    isolation_level: 'SERVICE',
    bucket_list: [],
    mount: { storage_provider: '', path: '' },
    ...changes,
  };
}
