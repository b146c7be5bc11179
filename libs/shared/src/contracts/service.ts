import { Type, type Static } from 'typebox';

/** OSCAR §2.1. Property order is emission order on the wire: do not sort. */
const strings = Type.Array(Type.String());
const stringMap = Type.Record(Type.String(), Type.String());

export const StorageIO = Type.Object(
  {
    storage_provider: Type.String(),
    path: Type.String(),
    suffix: Type.Optional(strings),
    prefix: Type.Optional(strings),
    options: Type.Optional(Type.String()),
  },
  { title: 'StorageIO' },
);
export type StorageIO = Static<typeof StorageIO>;

export const MinioProvider = Type.Object({
  endpoint: Type.String(),
  verify: Type.Boolean(),
  access_key: Type.String(),
  secret_key: Type.String(),
  region: Type.String(),
});
export const StorageProviders = Type.Object({
  s3: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({ access_key: Type.String(), secret_key: Type.String(), region: Type.String() }),
    ),
  ),
  minio: Type.Optional(Type.Record(Type.String(), MinioProvider)),
  onedata: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({ oneprovider_host: Type.String(), token: Type.String(), space: Type.String() }),
    ),
  ),
  webdav: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({ hostname: Type.String(), login: Type.String(), password: Type.String() }),
    ),
  ),
  rucio: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({
        host: Type.String(),
        account: Type.String(),
        rse: Type.String(),
        refresh_token: Type.String(),
        auth_host: Type.String(),
        oidc_audience: Type.String(),
        token_endpoint: Type.String(),
      }),
    ),
  ),
});
export type StorageProviders = Static<typeof StorageProviders>;

export const Replica = Type.Object({
  type: Type.String(),
  cluster_id: Type.String(),
  service_name: Type.String(),
  url: Type.String(),
  ssl_verify: Type.Boolean(),
  priority: Type.Integer(),
  headers: stringMap,
});

export const Federation = Type.Object({
  group_id: Type.String(),
  topology: Type.String(),
  delegation: Type.Optional(Type.String()),
  rescheduler_threshold: Type.Optional(Type.Integer()),
  members: Type.Optional(Type.Array(Replica)),
});

/** OSCAR §2.2: lists, but clients also send one number (OSCAR §11). */
const ports = Type.Optional(Type.Array(Type.Integer({ minimum: 0, maximum: 65_535 })));

export const Expose = Type.Object({
  min_scale: Type.Integer(),
  max_scale: Type.Integer(),
  api_port: ports,
  cpu_threshold: Type.Integer(),
  rewrite_target: Type.Boolean(),
  nodePort: ports,
  default_command: Type.Boolean(),
  set_auth: Type.Boolean(),
  auth_type: Type.Optional(Type.String()),
  health_path: Type.String(),
  probe_mode: Type.Optional(Type.String()),
});

export const Volume = Type.Object({
  name: Type.Optional(Type.String()),
  size: Type.String(),
  mount_path: Type.String(),
  lifecycle_policy: Type.Optional(Type.String()),
});

/** As Kubernetes has it, in this document's spelling. */
export const Toleration = Type.Object({
  key: Type.Optional(Type.String()),
  /** `Exists` or `Equal`. @default Equal */
  operator: Type.Optional(Type.String()),
  value: Type.Optional(Type.String()),
  /** `NoSchedule`, `PreferNoSchedule` or `NoExecute`. @default all */
  effect: Type.Optional(Type.String()),
  toleration_seconds: Type.Optional(Type.Integer({ minimum: 0 })),
});

/** A volume claim of the namespace that pods run in, and where scripts see it. */
export const ClaimedVolume = Type.Object({
  claim: Type.String(),
  mount_path: Type.String(),
  /** @default false */
  read_only: Type.Optional(Type.Boolean()),
});

/** What Sluice adds to a definition; absent on the wire unless the user gave it. */
export const SluiceOptions = Type.Object({
  /** Seconds a script may run. @default SLUICE_RUN_TIMEOUT */
  timeout: Type.Optional(Type.Integer({ minimum: 1, maximum: 2_592_000 })),
  /** How often a run whose script failed is tried again. @default 0 */
  script_retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 10 })),
  /** How often a run is tried again when its process was lost after the script had started. @default 3 */
  infra_retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 10 })),
  /** Runs of this service at the same time; 0 is no limit of its own. @default 0 */
  max_concurrency: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
  /** Accept a definition whose output can reach its own input. @default false */
  allow_loop: Type.Optional(Type.Boolean()),
  /** When a container's image is pulled: `Always` or `IfNotPresent`. @default Always, but IfNotPresent for an image named by its digest */
  image_pull_policy: Type.Optional(Type.String()),
  /** Whether a container has a network. @default false */
  network: Type.Optional(Type.Boolean()),
  /** The user that scripts run as on Kubernetes, `<uid>` or `<uid>:<gid>`. @default the image's */
  run_as: Type.Optional(Type.String()),
  /** Labels that a Kubernetes node must have for the service's pods. */
  node_selector: Type.Optional(stringMap),
  /** Taints of Kubernetes nodes that the service's pods bear. */
  tolerations: Type.Optional(Type.Array(Toleration)),
  /** Kubernetes priority class of the service's pods. */
  priority_class: Type.Optional(Type.String()),
  /** Kueue local queue that the service's pods wait in. */
  queue: Type.Optional(Type.String()),
  /** Kubernetes volume claims that are there already. */
  volumes: Type.Optional(Type.Array(ClaimedVolume)),
});
export type SluiceOptions = Static<typeof SluiceOptions>;

export const ServiceDefinition = Type.Object({
  name: Type.String(),
  cluster_id: Type.String(),
  memory: Type.String(),
  cpu: Type.String(),
  total_memory: Type.String(),
  total_cpu: Type.String(),
  ephemeral_storage_request: Type.String(),
  enable_gpu: Type.Boolean(),
  enable_sgx: Type.Boolean(),
  image_prefetch: Type.Boolean(),
  synchronous: Type.Object({ min_scale: Type.Integer(), max_scale: Type.Integer() }),
  federation: Type.Optional(Federation),
  log_level: Type.String(),
  image: Type.String(),
  alpine: Type.Boolean(),
  token: Type.String(),
  file_stage_in: Type.Boolean(),
  input: Type.Array(StorageIO),
  output: Type.Array(StorageIO),
  script: Type.Optional(Type.String()),
  image_pull_secrets: Type.Optional(strings),
  expose: Expose,
  environment: Type.Object({ variables: stringMap, secrets: stringMap }),
  annotations: stringMap,
  vo: Type.String(),
  labels: stringMap,
  storage_providers: Type.Optional(StorageProviders),
  clusters: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({
        endpoint: Type.String(),
        auth_user: Type.String(),
        auth_password: Type.String(),
        ssl_verify: Type.Boolean(),
      }),
    ),
  ),
  owner: Type.String(),
  namespace: Type.Optional(Type.String()),
  interlink_node_name: Type.String(),
  visibility: Type.String(),
  allowed_users: strings,
  isolation_level: Type.String(),
  bucket_list: strings,
  mount: StorageIO,
  volume: Type.Optional(Volume),
  sluice: Type.Optional(SluiceOptions),
});

/**
 * A service as the user describes it, complete: every field that OSCAR always emits is present.
 * In the definition store `token` and the values of `environment.secrets` are empty strings; the real
 * ones are `ServiceSecrets`, kept apart so that components which need no secrets never see them.
 */
export type ServiceDefinition = Static<typeof ServiceDefinition>;

export const ServiceSecrets = Type.Object({
  /** 64 lower-case hex characters (OSCAR §2.3). */
  token: Type.String(),
  environment: stringMap,
  /** Keys of storage providers and passwords of clusters by their path (`storage_providers.s3.eu.secret_key`); `hidden` in the definition. */
  third_party: Type.Optional(stringMap),
});
export type ServiceSecrets = Static<typeof ServiceSecrets>;

/** Set to `true` on a service whose runners are ended until it is started again (OSCAR §1.6); runs of files go on. */
export const stoppedAnnotation = 'oscar.grycap.io/stopped';

/** Set to a new time by each restart, which makes a new version of the service, so that its runners are replaced (OSCAR §1.6). */
export const restartedAnnotation = 'oscar.grycap.io/restarted-at';
