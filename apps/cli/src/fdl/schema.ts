/** What a value of the FDL has to be, and how leniently it is read. */
export type Kind =
  | 'text'
  /** Bucket and folder; blanks and slashes around it do not count (OSCAR §1.2 step 3). */
  | 'path'
  | 'boolean'
  | 'integer'
  | 'texts'
  | 'integers'
  | 'text-map'
  | 'json'
  | { readonly fields: Fields; readonly required?: readonly string[] }
  | { readonly listOf: Kind }
  | { readonly mapOf: Kind };

export type Fields = Readonly<Record<string, Kind>>;

const mount: Fields = {
  storage_provider: 'text',
  path: 'text',
  suffix: 'texts',
  prefix: 'texts',
  options: 'text',
};

const storageIO: Kind = { fields: { ...mount, path: 'path' }, required: ['storage_provider', 'path'] };

/** Keys of `storage_providers` (OSCAR §2.1). */
export const storageProviders: Fields = {
  s3: { mapOf: { fields: { access_key: 'text', secret_key: 'text', region: 'text' } } },
  minio: {
    mapOf: {
      fields: { endpoint: 'text', verify: 'boolean', access_key: 'text', secret_key: 'text', region: 'text' },
    },
  },
  onedata: { mapOf: { fields: { oneprovider_host: 'text', token: 'text', space: 'text' } } },
  webdav: { mapOf: { fields: { hostname: 'text', login: 'text', password: 'text' } } },
  rucio: {
    mapOf: {
      fields: {
        host: 'text',
        account: 'text',
        rse: 'text',
        refresh_token: 'text',
        auth_host: 'text',
        oidc_audience: 'text',
        token_endpoint: 'text',
      },
    },
  },
};

/** A member of `clusters` (OSCAR §2.1). */
export const cluster: Kind = {
  fields: { endpoint: 'text', auth_user: 'text', auth_password: 'text', ssl_verify: 'boolean' },
};

const federation: Fields = {
  group_id: 'text',
  topology: 'text',
  delegation: 'text',
  rescheduler_threshold: 'integer',
  members: {
    listOf: {
      fields: {
        type: 'text',
        cluster_id: 'text',
        service_name: 'text',
        url: 'text',
        ssl_verify: 'boolean',
        priority: 'integer',
        headers: 'text-map',
      },
    },
  },
};

const expose: Fields = {
  min_scale: 'integer',
  max_scale: 'integer',
  api_port: 'integers',
  cpu_threshold: 'integer',
  rewrite_target: 'boolean',
  nodePort: 'integers',
  default_command: 'boolean',
  set_auth: 'boolean',
  auth_type: 'text',
  health_path: 'text',
  probe_mode: 'text',
};

const sluice: Fields = {
  timeout: 'integer',
  script_retries: 'integer',
  infra_retries: 'integer',
  max_concurrency: 'integer',
  allow_loop: 'boolean',
  image_pull_policy: 'text',
  network: 'boolean',
  run_as: 'text',
  node_selector: 'text-map',
  tolerations: {
    listOf: {
      fields: { key: 'text', operator: 'text', value: 'text', effect: 'text', toleration_seconds: 'integer' },
    },
  },
  priority_class: 'text',
  queue: 'text',
  volumes: {
    listOf: {
      fields: { claim: 'text', mount_path: 'text', read_only: 'boolean' },
      required: ['claim', 'mount_path'],
    },
  },
};

/** What the image of a service is built of; the server never sees it. */
const build: Kind = {
  fields: { source: 'text', kind: 'text', file: 'text', platforms: 'texts', rebuild: 'text' },
  required: ['source', 'kind', 'file'],
};

/** Keys of a service (OSCAR §2.1 and what Sluice adds under `sluice`). What each means is in `notes.ts`, for the JSON Schema. */
export const service = {
  name: 'text',
  cluster_id: 'text',
  memory: 'text',
  cpu: 'text',
  total_memory: 'text',
  total_cpu: 'text',
  ephemeral_storage_request: 'text',
  enable_gpu: 'boolean',
  enable_sgx: 'boolean',
  image_prefetch: 'boolean',
  synchronous: { fields: { min_scale: 'integer', max_scale: 'integer' } },
  federation: { fields: federation },
  log_level: 'text',
  image: 'text',
  build,
  alpine: 'boolean',
  token: 'text',
  file_stage_in: 'boolean',
  input: { listOf: storageIO },
  output: { listOf: storageIO },
  script: 'text',
  image_pull_secrets: 'texts',
  expose: { fields: expose },
  environment: { fields: { variables: 'text-map', secrets: 'text-map' } },
  annotations: 'text-map',
  vo: 'text',
  labels: 'text-map',
  storage_providers: { fields: storageProviders },
  clusters: { mapOf: cluster },
  owner: 'text',
  namespace: 'text',
  interlink_node_name: 'text',
  visibility: 'text',
  allowed_users: 'texts',
  isolation_level: 'text',
  bucket_list: 'texts',
  mount: { fields: mount },
  volume: { fields: { name: 'text', size: 'text', mount_path: 'text', lifecycle_policy: 'text' } },
  kserve: 'json',
  sluice: { fields: sluice },
} as const satisfies Fields;

export const requiredKeys = ['name', 'script'] as const;
/** A service has one of these as well. */
export const oneOfKeys = ['image', 'build'] as const;

/** Keys that OSCAR v3 files have and v4 ignores without a word (OSCAR §2.4). */
export const retiredKeys: readonly string[] = ['replicas', 'delegation', 'rescheduler_threshold'];

/** Keys that only a server writes; they come along when a definition was copied from one. */
export const serverKeys: readonly string[] = ['volume_status', 'deployment'];
