import type { ServiceDefinition, StorageIO } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { normalisePath, isOwn, ownProvider } from './storage-path.ts';
import { withOwnMinio, type OwnMinio, type ServiceInput } from './service-wire.ts';

/** What the server puts into a definition, whoever sends it. */
export interface Stamp {
  readonly owner: string;
  /** `owner_name` label (OSCAR §1.2, step 12). */
  readonly ownerName: string;
  /** For a definition that names none. */
  readonly namespace: string;
  readonly minio: OwnMinio;
}

const logLevels = new Set(['NOTSET', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']);

/**
 * OSCAR §1.2 steps 2 to 8 and §2.3: paths, users, script, defaults, forced labels. `token` is empty and secrets are still in it.
 * @throws AppError `invalid_input` with OSCAR's text for an empty path
 */
export function normaliseService(input: ServiceInput, stamp: Stamp): ServiceDefinition {
  const { kserve: _kserve, volume, federation, sluice, ...service } = input;
  return {
    ...withoutEmptyOptions(service),
    memory: service.memory === '' ? '256Mi' : service.memory,
    cpu: service.cpu === '' ? '0.2' : service.cpu,
    visibility: service.visibility === '' ? 'private' : service.visibility,
    log_level: logLevel(service.log_level),
    script: (service.script ?? '').replaceAll(/\r\n?/g, '\n'),
    allowed_users: service.allowed_users.map((user) => user.trim()).filter((user) => user !== ''),
    input: service.input.map((io) => normaliseIo(service.name, io, 'input')),
    output: service.output.map((io) => normaliseIo(service.name, io, 'output')),
    expose: normaliseExpose(service.expose),
    labels: { ...service.labels, ...forcedLabels(service.name, stamp.ownerName) },
    storage_providers: withOwnMinio(service.storage_providers, stamp.minio),
    owner: stamp.owner,
    namespace: (service.namespace ?? '') === '' ? stamp.namespace : (service.namespace ?? ''),
    token: '',
    // A mount that says anything is refused.
    mount: { storage_provider: '', path: '' },
    ...(sluice === undefined ? {} : { sluice }),
    ...(volume === undefined || Object.values(volume).every((value) => value === '') ? {} : { volume }),
    ...(federation === undefined ? {} : { federation: normaliseFederation(federation) }),
  };
}

function logLevel(level: string): string {
  const upper = level.toUpperCase();
  return logLevels.has(upper) ? upper : 'INFO';
}

function forcedLabels(name: string, ownerName: string): Record<string, string> {
  return {
    'oscar.grycap/user-service': 'true',
    oscar_service: name,
    applicationId: name,
    queue: `root.oscar-queue.${name}`,
    owner_name: ownerName,
  };
}

function normaliseIo(service: string, io: StorageIO, kind: 'input' | 'output'): StorageIO {
  const path = normalisePath(service, io);
  if (path === '') throw new AppError('invalid_input', `${kind} path cannot be empty`, { field: kind });
  return {
    // One spelling, so that every component can compare it.
    storage_provider: isOwn(io) ? ownProvider : io.storage_provider.trim(),
    path,
    ...listOf('suffix', io.suffix),
    ...listOf('prefix', io.prefix),
    ...(io.options === undefined || io.options === '' ? {} : { options: io.options }),
  };
}

/** Go's `omitempty`: an empty optional list is no list. */
function listOf<K extends string>(key: K, list: readonly string[] | undefined): { [P in K]?: string[] } {
  return (list === undefined || list.length === 0 ? {} : { [key]: [...list] }) as { [P in K]?: string[] };
}

/** oscar-cli always sends `nodePort: 0`; 0 means no port where a service is not exposed (OSCAR §11). */
function normaliseExpose(expose: ServiceDefinition['expose']): ServiceDefinition['expose'] {
  const {
    api_port: apiPort = [],
    nodePort = [],
    auth_type: authType,
    probe_mode: probeMode,
    ...rest
  } = expose;
  const exposed = apiPort.length > 0;
  const keepNodePort = nodePort.length > 0 && (exposed || nodePort.some((port) => port !== 0));
  return {
    ...rest,
    ...(exposed ? { api_port: apiPort } : {}),
    ...(keepNodePort ? { nodePort } : {}),
    ...(authType === undefined || authType === '' ? {} : { auth_type: authType }),
    ...(probeMode === undefined || probeMode === '' ? {} : { probe_mode: probeMode }),
  };
}

type Federation = NonNullable<ServiceDefinition['federation']>;

function normaliseFederation(federation: Federation): Federation {
  const { members = [], delegation, ...rest } = federation;
  return {
    ...rest,
    topology: rest.topology === '' ? 'none' : rest.topology,
    ...(delegation === undefined || delegation === '' ? {} : { delegation }),
    ...(members.length === 0 ? {} : { members }),
  };
}

type Rest = Omit<ServiceInput, 'kserve' | 'volume' | 'federation' | 'sluice'>;

function withoutEmptyOptions(service: Rest): Rest {
  const { image_pull_secrets: pullSecrets = [], clusters = {}, ...rest } = service;
  return {
    ...rest,
    ...(pullSecrets.length === 0 ? {} : { image_pull_secrets: pullSecrets }),
    ...(Object.keys(clusters).length === 0 ? {} : { clusters }),
  };
}

/** Whether a service is exposed (OSCAR §2.2). */
export function isExposed(definition: Pick<ServiceDefinition, 'expose'>): boolean {
  return (definition.expose.api_port?.[0] ?? 0) !== 0;
}
