import type { ServiceDefinition } from '@sluice/shared/contracts';
import type { Fault } from './faults.ts';
import type { ServiceInput } from './service-wire.ts';

/** A DNS subdomain, which is what Kubernetes calls most things by. */
const objectName = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const labelKey =
  /^(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*\/)?[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;
const labelText = /^(?:[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?$/;
const maxUser = 2_147_483_647;
const maxEntries = 20;
/** Folders that a pod has for itself (OSCAR §9.2 for the last two). */
const takenFolders = ['/sluice', '/proc', '/sys', '/dev', '/oscar/config', '/oscar/bin'];
/** Without these no image works. */
const imageFolders = new Set(['/bin', '/etc', '/lib', '/usr']);

type Options = NonNullable<ServiceDefinition['sluice']>;

/** Faults of what a definition says about pods: said at once, whatever runs it here, so that it means the same wherever it is taken. */
export function clusterFaults({ sluice = {} }: ServiceDefinition, input: ServiceInput): Fault[] {
  return [
    ...userFaults(sluice),
    ...nameFaults(sluice),
    ...selectorFaults(sluice),
    ...tolerationFaults(sluice),
    ...(sluice.volumes ?? []).flatMap((volume, index) => claimFaults(volume, `sluice.volumes[${index}]`)),
    ...countFaults(sluice),
    ...volumeFaults(input.volume),
    ...mountedTwice(sluice, input.volume),
  ];
}

function userFaults({ run_as: user }: Options): Fault[] {
  if (user === undefined) return [];
  const match = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(user);
  const isUser = match !== null && Number(match[1]) <= maxUser && Number(match[2] ?? 0) <= maxUser;
  if (isUser) return [];
  return [
    {
      field: 'sluice.run_as',
      message: 'must be a number, or two as "<uid>:<gid>" (write for example "1000")',
    },
  ];
}

function nameFaults({ priority_class: priority, queue }: Options): Fault[] {
  const faults: Fault[] = [];
  if (priority !== undefined && (!objectName.test(priority) || priority.length > 253)) {
    faults.push({
      field: 'sluice.priority_class',
      message: 'must be the name of a Kubernetes priority class',
    });
  }
  if (priority?.startsWith('system-') === true) {
    faults.push({ field: 'sluice.priority_class', message: 'is kept for the cluster itself' });
  }
  if (queue !== undefined && (!objectName.test(queue) || queue.length > 63)) {
    faults.push({ field: 'sluice.queue', message: 'must be the name of a Kueue local queue' });
  }
  return faults;
}

function selectorFaults({ node_selector: selector = {} }: Options): Fault[] {
  return Object.entries(selector)
    .filter(([key, value]) => !isLabelKey(key) || !labelText.test(value))
    .map(([key]) => ({
      field: `sluice.node_selector.${key.slice(0, 64)}`,
      message: 'must be the label of a node and its value',
    }));
}

function tolerationFaults({ tolerations = [] }: Options): Fault[] {
  return tolerations.flatMap(
    ({ key = '', operator = 'Equal', value = '', effect, toleration_seconds: seconds }, index) => {
      const field = `sluice.tolerations[${index}]`;
      const faults: Fault[] = [];
      const add = (name: string, message: string): void => {
        faults.push({ field: `${field}.${name}`, message });
      };
      if (!['Exists', 'Equal'].includes(operator)) add('operator', 'must be "Exists" or "Equal"');
      if (key === '' ? operator !== 'Exists' : !isLabelKey(key)) {
        add('key', 'must be the key of a taint, or left out with operator "Exists" for all of them');
      }
      if (!labelText.test(value)) add('value', 'must be the value of a taint');
      if (operator === 'Exists' && value !== '') add('value', 'must be left out with operator "Exists"');
      if (effect !== undefined && !['NoSchedule', 'PreferNoSchedule', 'NoExecute'].includes(effect)) {
        add('effect', 'must be "NoSchedule", "PreferNoSchedule" or "NoExecute"');
      }
      if (seconds !== undefined && effect !== 'NoExecute') {
        add('toleration_seconds', 'is for effect "NoExecute" alone');
      }
      return faults;
    },
  );
}

function isLabelKey(key: string): boolean {
  return labelKey.test(key) && key.length <= 317;
}

function claimFaults(
  { claim, mount_path: path }: { readonly claim: string; readonly mount_path: string },
  field: string,
  claimField = 'claim',
): Fault[] {
  const faults: Fault[] = [];
  if (!objectName.test(claim) || claim.length > 253) {
    faults.push({
      field: `${field}.${claimField}`,
      message: 'must be the name of a volume claim that there is already',
    });
  }
  const fault = pathFault(path);
  if (fault !== undefined) faults.push({ field: `${field}.mount_path`, message: fault });
  return faults;
}

function pathFault(path: string): string | undefined {
  if (!/^(?:\/[^/:\0]+)+$/.test(path) || path.length > 1024) {
    return 'must be an absolute path without ":" and without a slash at its end (write for example "/data")';
  }
  if (path.split('/').some((part) => part === '.' || part === '..')) return 'must not have "." or ".." in it';
  if (imageFolders.has(path)) return 'must not hide a folder that the image needs';
  const taken = takenFolders.find((folder) => path === folder || path.startsWith(`${folder}/`));
  return taken === undefined ? undefined : `must not be ${taken} or a folder in it`;
}

function countFaults({ node_selector: selector = {}, tolerations = [], volumes = [] }: Options): Fault[] {
  const counts: [string, number][] = [
    ['node_selector', Object.keys(selector).length],
    ['tolerations', tolerations.length],
    ['volumes', volumes.length],
  ];
  return counts
    .filter(([, count]) => count > maxEntries)
    .map(([field]) => ({ field: `sluice.${field}`, message: `has more than ${maxEntries} entries` }));
}

/** OSCAR's `volume` (OSCAR §9.2), as far as it names one that there is: none is made here. */
function volumeFaults(volume: ServiceInput['volume']): Fault[] {
  if (volume === undefined || Object.values(volume).every((value) => value === '')) return [];
  const { name = '', size, mount_path: path, lifecycle_policy: policy = '' } = volume;
  const faults = claimFaults({ claim: name, mount_path: path }, 'volume', 'name');
  if (size !== '') {
    const message =
      'is not supported: volumes are not made here, leave it out and name one that there is already';
    faults.push({ field: 'volume.size', message });
  }
  if (policy !== '')
    faults.push({ field: 'volume.lifecycle_policy', message: 'is for volumes with a size alone' });
  return faults;
}

function mountedTwice({ volumes = [] }: Options, volume: ServiceInput['volume']): Fault[] {
  const seen = new Set(volume === undefined ? [] : [volume.mount_path]);
  return volumes.flatMap(({ mount_path: path }, index) => {
    if (!seen.has(path)) {
      seen.add(path);
      return [];
    }
    return [{ field: `sluice.volumes[${index}].mount_path`, message: 'is used by another volume' }];
  });
}
