import { parseQuantity, type ServiceDefinition, type StorageIO } from '@sluice/shared/contracts';
import { checkBucketName, splitPath } from '@sluice/shared/stores';
import { clusterFaults } from './cluster-options.ts';
import { faultOf, type Fault } from './faults.ts';
import { checkRanges } from './ranges.ts';
import { isOwn, ownProvider, providerOf } from './storage-path.ts';
import { ServiceInput } from './service-wire.ts';

const label = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const labelName = /^(?:[a-zA-Z0-9](?:[-_.a-zA-Z0-9]*[a-zA-Z0-9])?)$/;
const variableName = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;
const optionsForm = /^[a-zA-Z0-9\-_.:=,/ ]+$/;
/** One string of a process's environment is limited to 128 KiB (Linux, MAX_ARG_STRLEN). */
const maxVariableBytes = 131_072;
const maxEnvironmentBytes = 1_048_576;
const maxItems = 100;

/**
 * What OSCAR would store and fail on later, said at once: every fault of a normalised definition.
 * @param input as the client sent it, for the parts that are named only to be refused
 */
export function validateService(definition: ServiceDefinition, input: ServiceInput): Fault[] {
  return [
    ...nameFaults(definition),
    ...quantityFaults(definition),
    ...checkRanges(ServiceInput, definition, ''),
    ...textFaults(definition),
    ...environmentFaults(definition.environment),
    ...labelFaults(definition.labels),
    ...mapKeyFaults(definition),
    ...exposeFaults(definition.expose),
    ...definition.input.flatMap((io, index) => ioFaults(definition, io, `input[${index}]`)),
    ...definition.output.flatMap((io, index) => ioFaults(definition, io, `output[${index}]`)),
    ...countFaults(definition),
    ...sizeFaults(definition),
    ...clusterFaults(definition, input),
    ...unsupportedFaults(input),
  ];
}

function nameFaults({ name, namespace }: ServiceDefinition): Fault[] {
  const faults: Fault[] = [];
  if (!label.test(name)) {
    faults.push({
      field: 'name',
      message: 'must be made of a-z, 0-9 and "-", with a letter or digit first and last (a DNS label)',
    });
  }
  if (namespace !== undefined && (!label.test(namespace) || namespace.length > 63)) {
    faults.push({ field: 'namespace', message: 'must be a DNS label of at most 63 characters' });
  }
  return faults;
}

function quantityFaults(definition: ServiceDefinition): Fault[] {
  const required = (['memory', 'cpu'] as const).filter(
    (field) => !((parseQuantity(definition[field]) ?? 0) > 0),
  );
  const optional = (['total_memory', 'total_cpu', 'ephemeral_storage_request'] as const).filter(
    (field) => definition[field] !== '' && !((parseQuantity(definition[field]) ?? -1) >= 0),
  );
  return [...required, ...optional].map((field) => ({
    field,
    message: `${JSON.stringify(definition[field])} is not a quantity (write for example "${field.endsWith('cpu') ? '0.5' : '256Mi'}")`,
  }));
}

function textFaults(definition: ServiceDefinition): Fault[] {
  const faults: Fault[] = [];
  if (!['private', 'restricted', 'public'].includes(definition.visibility)) {
    faults.push({ field: 'visibility', message: 'must be "private", "restricted" or "public"' });
  }
  if (!/^[\x21-\x7e]{1,1024}$/.test(definition.image)) {
    faults.push({ field: 'image', message: 'must be an image reference without spaces' });
  }
  if (!['Always', 'IfNotPresent'].includes(definition.sluice?.image_pull_policy ?? 'Always')) {
    faults.push({ field: 'sluice.image_pull_policy', message: 'must be "Always" or "IfNotPresent"' });
  }
  if (definition.script?.includes('\0') === true) {
    faults.push({ field: 'script', message: 'has a NUL character' });
  }
  return faults;
}

function environmentFaults({ variables, secrets }: ServiceDefinition['environment']): Fault[] {
  const faults: Fault[] = [];
  let bytes = 0;
  for (const [group, values] of [
    ['variables', variables],
    ['secrets', secrets],
  ] as const) {
    for (const [name, value] of Object.entries(values)) {
      const field = `environment.${group}.${name.slice(0, 64)}`;
      const size = Buffer.byteLength(name) + Buffer.byteLength(value) + 2;
      bytes += size;
      if (!variableName.test(name) || name === '__proto__') {
        faults.push({
          field,
          message: 'the name of a variable is made of letters, digits, "_", "-" and "."',
        });
      }
      if (value.includes('\0')) faults.push({ field, message: 'has a NUL character' });
      if (size > maxVariableBytes)
        faults.push({ field, message: 'is longer than the 128 KiB a process can be given' });
    }
  }
  if (bytes > maxEnvironmentBytes)
    faults.push({ field: 'environment', message: 'has more than 1 MiB in all' });
  return faults;
}

function labelFaults(labels: Readonly<Record<string, string>>): Fault[] {
  return Object.entries(labels).flatMap(([key, value]) => {
    const field = `labels.${key.slice(0, 64)}`;
    const name = key.slice(key.lastIndexOf('/') + 1);
    const faults: Fault[] = [];
    if (!labelName.test(name) || name.length > 63 || key.length > 317) {
      faults.push({ field, message: 'is not a valid label name' });
    }
    if (value !== '' && (!labelName.test(value) || value.length > 63)) {
      faults.push({ field, message: 'a label value has at most 63 of letters, digits, "-", "_" and "."' });
    }
    return faults;
  });
}

/** Ids that users choose and that become part of a path or of a message. */
function mapKeyFaults({ annotations, clusters, storage_providers: providers }: ServiceDefinition): Fault[] {
  const maps: [string, object][] = [
    ['annotations', annotations],
    ['clusters', clusters ?? {}],
    ...Object.entries(providers ?? {}).map(([kind, map]): [string, object] => [
      `storage_providers.${kind}`,
      map,
    ]),
  ];
  return maps.flatMap(([field, map]) =>
    Object.keys(map)
      .filter((key) => key === '' || key === '__proto__' || key.length > 317)
      .map((key) => ({ field, message: `${JSON.stringify(key.slice(0, 64))} is not usable as a name` })),
  );
}

function exposeFaults(expose: ServiceDefinition['expose']): Fault[] {
  const {
    api_port: apiPort = [],
    nodePort = [],
    auth_type: authType = 'basic',
    probe_mode: probeMode = 'legacy',
  } = expose;
  const faults: Fault[] = [];
  if (nodePort.length > 0 && nodePort.length !== apiPort.length) {
    faults.push({
      field: 'expose.nodePort',
      message: `The length of nodePort (${nodePort.length}) must be equal to that of api_port (${apiPort.length})`,
    });
  }
  if (!['basic', 'forward'].includes(authType)) {
    faults.push({
      field: 'expose.auth_type',
      message: `unsupported expose auth_type ${JSON.stringify(authType)}`,
    });
  }
  if (!['legacy', 'direct'].includes(probeMode)) {
    faults.push({ field: 'expose.probe_mode', message: 'must be "legacy" or "direct"' });
  }
  return faults;
}

function ioFaults(definition: ServiceDefinition, io: StorageIO, field: string): Fault[] {
  return [
    ...providerFaults(definition, io, field),
    ...(isOwn(io) ? pathFaults(definition.name, io, field) : []),
    ...(io.options !== undefined && !optionsForm.test(io.options)
      ? [{ field: `${field}.options`, message: 'mount options contain invalid characters' }]
      : []),
    ...(['prefix', 'suffix'] as const).flatMap((filter) => {
      const list = io[filter] ?? [];
      if (list.length > maxItems || list.some((item) => Buffer.byteLength(item) > 1024)) {
        return [
          { field: `${field}.${filter}`, message: `holds at most ${maxItems} texts of at most 1024 bytes` },
        ];
      }
      return [];
    }),
  ];
}

function pathFaults(service: string, io: StorageIO, field: string): Fault[] {
  const bucket = io.path.slice(0, io.path.indexOf('/'));
  const faults = faultOf(`${field}.path`, () => {
    checkBucketName(bucket);
    splitPath(io.path);
  });
  return faults.map((fault) =>
    bucket === service
      ? {
          ...fault,
          message: `${fault.message} (the bucket is the service's name where the path names none: write "<bucket>/<folder>")`,
        }
      : fault,
  );
}

function providerFaults(definition: ServiceDefinition, io: StorageIO, field: string): Fault[] {
  if (isOwn(io)) return [];
  const { name, id } = providerOf(io.storage_provider);
  if (name === '')
    return [{ field: `${field}.storage_provider`, message: `is missing; use "${ownProvider}"` }];
  const defined = new Map<string, object>(Object.entries(definition.storage_providers ?? {}));
  const shown = `${name}.${id}`.slice(0, 100);
  if (defined.has(name) || ['s3', 'onedata', 'webdav', 'rucio', 'minio'].includes(name)) {
    const entries = defined.get(name);
    if (entries === undefined || !Object.hasOwn(entries, id)) {
      return [
        { field: `${field}.storage_provider`, message: `the StorageProvider "${shown}" is not defined` },
      ];
    }
  }
  return [
    {
      field: `${field}.storage_provider`,
      message: `"${shown}" is not supported by this installation yet; use "${ownProvider}"`,
    },
  ];
}

function countFaults(definition: ServiceDefinition): Fault[] {
  const { input, output, environment, labels, annotations } = definition;
  const counts: [string, number, number][] = [
    ['input', input.length, maxItems],
    ['output', output.length, maxItems],
    ['allowed_users', definition.allowed_users.length, 1000],
    ['environment.variables', Object.keys(environment.variables).length, 1000],
    ['environment.secrets', Object.keys(environment.secrets).length, 1000],
    ['labels', Object.keys(labels).length, 200],
    ['annotations', Object.keys(annotations).length, 200],
  ];
  return counts
    .filter(([, count, limit]) => count > limit)
    .map(([field, , limit]) => ({ field, message: `has more than ${limit} entries` }));
}

/** Every component keeps or reads definitions; Kubernetes would take half of this. */
const maxDefinitionBytes = 2_097_152;

function sizeFaults(definition: ServiceDefinition): Fault[] {
  if (Buffer.byteLength(JSON.stringify(definition)) <= maxDefinitionBytes) return [];
  return [
    { field: '', message: `the definition, its script included, is larger than ${maxDefinitionBytes} bytes` },
  ];
}

function unsupportedFaults(input: ServiceInput): Fault[] {
  const faults: Fault[] = [];
  const add = (field: string): void => {
    faults.push({ field, message: 'is not supported by this installation' });
  };
  if (input.mount.storage_provider.trim() !== '' || input.mount.path.trim() !== '') add('mount');
  if (input.kserve !== undefined) add('kserve');
  if ((input.federation?.members ?? []).length > 0) add('federation.members');
  return faults;
}
