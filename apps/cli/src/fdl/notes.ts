/** What an editor shows for a key of an FDL file. */
export interface Note {
  readonly text: string;
  readonly examples?: readonly (string | number | boolean | readonly string[])[];
  /** The values that are meant; others are accepted. */
  readonly suggested?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly maxLength?: number;
}

const provider =
  'Where the objects are: `minio` or `minio.default` for this installation’s own, else a key of `storage_providers`.';
const folder = 'Bucket and folder, as `bucket/folder`.';
const endsIn = 'Only files whose names end in one of these.';
const beginsWith = 'Only files whose names begin with one of these.';
const mountOptions = 'Options of the mount.';

function mountNotes(at: string, path: string, example = 'thumbnail/in'): Record<string, Note> {
  return {
    [`${at}.storage_provider`]: { text: provider, examples: ['minio', 'minio.default'] },
    [`${at}.path`]: { text: path, examples: [example] },
    [`${at}.suffix`]: { text: endsIn, examples: [['.png', '.jpg']] },
    [`${at}.prefix`]: { text: beginsWith, examples: [['photo-']] },
    [`${at}.options`]: { text: mountOptions },
  };
}

/** By path below a service; `[]` is an item of a list, `*` any key of a map. */
const serviceNotes: Readonly<Record<string, Note>> = {
  name: {
    text: 'Name of the service: lower-case letters, digits and hyphens.',
    examples: ['thumbnail'],
    maxLength: 39,
  },
  cluster_id: { text: 'The cluster; the key above the service says it already.' },
  memory: { text: 'Memory that a run may use.', examples: ['256Mi', '1Gi'] },
  cpu: { text: 'Cores that a run may use.', examples: ['0.2', '1.0'] },
  total_memory: { text: 'Memory that all runs of the service may use together.', examples: ['4Gi'] },
  total_cpu: { text: 'Cores that all runs of the service may use together.', examples: ['4'] },
  ephemeral_storage_request: { text: 'Disk that a run may use.', examples: ['2Gi'] },
  enable_gpu: { text: 'Runs need a GPU.' },
  enable_sgx: { text: 'Runs need SGX.' },
  image_prefetch: { text: 'Fetch the image when the service is made, not with its first run.' },
  synchronous: { text: 'How many runners are kept for synchronous calls (`sluice call`).' },
  'synchronous.min_scale': { text: 'Runners that are always ready.', min: 0 },
  'synchronous.max_scale': { text: 'At most so many runners; 0 is no limit of the service’s own.', min: 0 },
  federation: { text: 'Other clusters that have the same service.' },
  'federation.group_id': { text: 'Name of the group of clusters.' },
  'federation.topology': { text: 'Who sends to whom.', suggested: ['none', 'star', 'mesh'] },
  'federation.delegation': {
    text: 'How the cluster for a run is chosen.',
    suggested: ['static', 'random', 'load-based'],
  },
  'federation.rescheduler_threshold': {
    text: 'Seconds after which a waiting run may go to another cluster.',
  },
  'federation.members': { text: 'The clusters and addresses of the group.' },
  'federation.members[].type': { text: 'What the member is.', suggested: ['oscar', 'endpoint'] },
  'federation.members[].cluster_id': { text: 'Key in `clusters` of an `oscar` member.' },
  'federation.members[].service_name': { text: 'Name of the service there.' },
  'federation.members[].url': { text: 'Address of an `endpoint` member.' },
  'federation.members[].ssl_verify': { text: 'Check the certificate.' },
  'federation.members[].priority': { text: 'Lower goes first.' },
  'federation.members[].headers': { text: 'HTTP headers for an `endpoint` member.' },
  log_level: {
    text: 'How much is logged about a run.',
    suggested: ['CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG', 'NOTSET'],
  },
  image: {
    text: 'Container image with what the script needs. Required, unless `build` makes one.',
    examples: ['alpine:3', 'ghcr.io/example/tool:1.2'],
  },
  build: { text: 'What an image is built of, in place of `image`.' },
  'build.source': { text: 'Image that it begins with.', examples: ['python:3.11-slim'] },
  'build.kind': {
    text: 'Language of the requirements file.',
    suggested: ['python', 'nodejs', 'go', 'java', 'php', 'ruby', 'dotnet'],
    examples: ['python'],
  },
  'build.file': {
    text: 'The requirements file, relative to this file.',
    examples: ['requirements.txt', 'package.json'],
  },
  'build.platforms': {
    text: 'Platforms that it is built for (default: the builder’s own).',
    examples: [['linux/amd64', 'linux/arm64']],
  },
  'build.rebuild': {
    text: 'With `base`, every `sluice apply` has it built again where the image that it begins with has changed.',
    suggested: ['base'],
    examples: ['base'],
  },
  alpine: { text: 'The image is of Alpine Linux.' },
  token: { text: 'Token for calls; the server makes one.' },
  file_stage_in: { text: 'Do not fetch the input file; the script does it.' },
  input: { text: 'Every file that lands in one of these places starts a run.' },
  ...mountNotes('input[]', `${folder} Files that land here start runs.`),
  output: { text: 'What the script leaves in `TMP_OUTPUT_DIR` goes to these places.' },
  ...mountNotes('output[]', `${folder} Results go here.`, 'thumbnail/out'),
  script: { text: 'File with the script, relative to this file.', examples: ['script.sh'] },
  image_pull_secrets: { text: 'Secrets for fetching the image.' },
  expose: { text: 'A long-lived service with an HTTP port.' },
  'expose.min_scale': { text: 'At least so many copies.', min: 0 },
  'expose.max_scale': { text: 'At most so many copies.', min: 0 },
  'expose.api_port': {
    text: 'Port that it listens on, or a list of ports.',
    examples: [8080],
    min: 0,
    max: 65_535,
  },
  'expose.cpu_threshold': { text: 'Per cent of CPU at which a copy is added.' },
  'expose.rewrite_target': { text: 'Pass the whole path on.' },
  'expose.nodePort': { text: 'Port on the node, or a list of ports; 0 is none.', min: 0, max: 65_535 },
  'expose.default_command': { text: 'Run the image’s own command, not the script.' },
  'expose.set_auth': { text: 'Ask for the service’s name and token.' },
  'expose.auth_type': { text: 'How it is asked for.', suggested: ['basic', 'forward'] },
  'expose.health_path': { text: 'Path that says whether it is well.', examples: ['/health'] },
  'expose.probe_mode': { text: 'How the health path is asked.', suggested: ['legacy', 'direct'] },
  environment: { text: 'Variables of the script.' },
  'environment.variables': { text: 'Variables that anybody may see.' },
  'environment.secrets': { text: 'Variables that the server never shows again.' },
  annotations: { text: 'Notes for machines, key and text.' },
  vo: { text: 'Virtual organisation.' },
  labels: { text: 'Labels, key and text.' },
  owner: { text: 'Who owns the service; the server sets it.' },
  namespace: { text: 'Namespace; the server sets it.' },
  interlink_node_name: { text: 'InterLink node that runs go to.' },
  visibility: { text: 'Who may see and use it.', suggested: ['private', 'restricted', 'public'] },
  allowed_users: { text: 'Users of a `restricted` service.' },
  isolation_level: { text: 'Whether users share its buckets.', suggested: ['SERVICE', 'USER'] },
  bucket_list: { text: 'Buckets of its users; the server keeps the list.' },
  mount: { text: 'A bucket or folder that is mounted into every run.' },
  ...mountNotes('mount', `${folder} It is mounted.`),
  volume: { text: 'A disk that stays between runs.' },
  'volume.name': { text: 'Name of a volume that there is already.' },
  'volume.size': { text: 'Size of a new one.', examples: ['1Gi'] },
  'volume.mount_path': { text: 'Where runs see it.', examples: ['/data'] },
  'volume.lifecycle_policy': {
    text: 'What becomes of it with the service.',
    suggested: ['delete', 'retain'],
  },
  kserve: { text: 'A KServe inference service.' },
  sluice: { text: 'What Sluice adds to OSCAR’s definition.' },
  'sluice.timeout': { text: 'Seconds a script may run.', min: 1, max: 2_592_000, examples: [600] },
  'sluice.script_retries': {
    text: 'How often a run whose script failed is tried again (default 0).',
    min: 0,
    max: 10,
  },
  'sluice.infra_retries': {
    text: 'How often a run is tried again when its process was lost after the script had started (default 3).',
    min: 0,
    max: 10,
  },
  'sluice.max_concurrency': {
    text: 'Runs of this service at the same time; 0 is no limit of its own.',
    min: 0,
    max: 10_000,
  },
  'sluice.allow_loop': { text: 'Accept a definition whose output can reach its own input.' },
  'sluice.image_pull_policy': {
    text: 'When a container’s image is pulled: before every run, or where it is not there yet (default `Always`, for a digest `IfNotPresent`).',
    suggested: ['Always', 'IfNotPresent'],
  },
  'sluice.network': { text: 'Give the script’s container a network (default false).' },
  'sluice.run_as': {
    text: 'On Kubernetes, the user that scripts run as, by number, with or without a group (default: the image’s).',
    examples: ['1000', '1000:1000'],
  },
  'sluice.node_selector': { text: 'Labels that a Kubernetes node must have to run the service.' },
  'sluice.tolerations': { text: 'Taints of Kubernetes nodes that the service’s pods bear.' },
  'sluice.tolerations[].key': { text: 'Key of the taint; without it, with operator `Exists`, all of them.' },
  'sluice.tolerations[].operator': { text: 'How the value compares.', suggested: ['Equal', 'Exists'] },
  'sluice.tolerations[].value': { text: 'Value of the taint.' },
  'sluice.tolerations[].effect': {
    text: 'Effect of the taint; without it, all of them.',
    suggested: ['NoSchedule', 'PreferNoSchedule', 'NoExecute'],
  },
  'sluice.tolerations[].toleration_seconds': {
    text: 'How long a pod stays on a node that got a taint of effect `NoExecute`.',
    min: 0,
  },
  'sluice.priority_class': { text: 'Kubernetes priority class of the service’s pods.' },
  'sluice.queue': { text: 'Kueue local queue that the service’s runs wait in.' },
  'sluice.volumes': { text: 'Kubernetes volume claims that there are already.' },
  'sluice.volumes[].claim': { text: 'Name of the claim, in the namespace that runs have their pods in.' },
  'sluice.volumes[].mount_path': { text: 'Where runs see it.', examples: ['/data'] },
  'sluice.volumes[].read_only': { text: 'Whether runs may only read it (default false).' },
};

/** Of `storage_providers` and `clusters`, at the top of a file and in a service. */
const sharedNotes: Readonly<Record<string, Note>> = {
  storage_providers: {
    text: 'Other stores that inputs and outputs may name, as `s3.NAME`, `minio.NAME`, ….',
  },
  'storage_providers.s3': { text: 'Amazon S3, by name.' },
  'storage_providers.s3.*.access_key': { text: 'Access key.' },
  'storage_providers.s3.*.secret_key': { text: 'Secret key.' },
  'storage_providers.s3.*.region': { text: 'Region.', examples: ['eu-west-1'] },
  'storage_providers.minio': { text: 'S3 servers with an address of their own, by name.' },
  'storage_providers.minio.*.endpoint': { text: 'Address.', examples: ['https://minio.example.org:9000'] },
  'storage_providers.minio.*.verify': { text: 'Check the certificate.' },
  'storage_providers.minio.*.access_key': { text: 'Access key.' },
  'storage_providers.minio.*.secret_key': { text: 'Secret key.' },
  'storage_providers.minio.*.region': { text: 'Region.' },
  'storage_providers.onedata': { text: 'Onedata, by name.' },
  'storage_providers.onedata.*.oneprovider_host': { text: 'Host of the Oneprovider.' },
  'storage_providers.onedata.*.token': { text: 'Access token.' },
  'storage_providers.onedata.*.space': { text: 'Space.' },
  'storage_providers.webdav': { text: 'WebDAV servers, by name.' },
  'storage_providers.webdav.*.hostname': { text: 'Host.' },
  'storage_providers.webdav.*.login': { text: 'User name.' },
  'storage_providers.webdav.*.password': { text: 'Password.' },
  'storage_providers.rucio': { text: 'Rucio, by name.' },
  'storage_providers.rucio.*.host': { text: 'Address of the Rucio server.' },
  'storage_providers.rucio.*.account': { text: 'Account.' },
  'storage_providers.rucio.*.rse': { text: 'Storage element.' },
  'storage_providers.rucio.*.refresh_token': { text: 'Refresh token.' },
  'storage_providers.rucio.*.auth_host': { text: 'Address of the authentication server.' },
  'storage_providers.rucio.*.oidc_audience': { text: 'OIDC audience.' },
  'storage_providers.rucio.*.token_endpoint': { text: 'Where tokens are made.' },
  clusters: { text: 'Other clusters, by the keys that services name.' },
  'clusters.*.endpoint': { text: 'Address.', examples: ['https://oscar.example.org'] },
  'clusters.*.auth_user': { text: 'User name.' },
  'clusters.*.auth_password': { text: 'Password.' },
  'clusters.*.ssl_verify': { text: 'Check the certificate.' },
};

export const notes: Readonly<Record<string, Note>> = { ...serviceNotes, ...sharedNotes };
