import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RegistryKeeper } from '../clean-up-ports.ts';
import { collectedOf, freedBytes, usedBytesOf } from '../domain/registry-output.ts';
import {
  isRolledOut,
  runningPod,
  selectorText,
  switchPatch,
  workloadFault,
  type WorkloadName,
} from '../domain/registry-workload.ts';
import { createKubeRegistryApi, type KubeAccess, type KubeRegistryApi } from './kube-registry-api.ts';

export interface KubeRegistryKeeperOptions {
  readonly access: KubeAccess;
  readonly workload: WorkloadName;
  /** The registry's configuration in its container. */
  readonly configPath: string;
  /** Its storage there, which is measured. */
  readonly storagePath: string;
  readonly clock: Clock;
}

const pollMs = 500;

/**
 * A registry in Kubernetes. It is switched by a variable of its pod, which replaces the pod, and collected by a program in that pod: whatever is left of one whose
 * process was lost ends with the pod. Needs `get` and `patch` of the one workload, `list` of pods and `create` and `get` of `pods/exec` in its namespace.
 */
export function createKubeRegistryKeeper(
  options: KubeRegistryKeeperOptions,
): RegistryKeeper & { close(): Promise<void> } {
  const api = createKubeRegistryApi(options.access, options.workload);
  return {
    readOnly: async (signal) => replacePod(api, options, true, signal),
    writable: async (signal) => replacePod(api, options, false, signal),
    collect: async (signal) => {
      const workload = await api.workload(signal);
      const pod = runningPod(await api.pods(selectorText(workload), signal));
      const container = workload.spec?.template?.spec?.containers?.[0]?.name;
      if (pod === undefined || container === undefined)
        throw new AppError('unavailable', 'The registry has no pod that runs.');
      const measure = async (): Promise<number | undefined> => {
        let bytes: number | undefined;
        const note = (line: string): void => void (bytes ??= usedBytesOf(line));
        // An image without the program is collected all the same.
        await api
          .exec(pod, container, ['du', '-sk', options.storagePath], note, signal)
          .catch(() => undefined);
        return bytes;
      };
      const before = await measure();
      let counted: ReturnType<typeof collectedOf>;
      const command = ['registry', 'garbage-collect', '--delete-untagged', options.configPath];
      await api.exec(
        pod,
        container,
        command,
        (line) => void (counted = collectedOf(line) ?? counted),
        signal,
      );
      return {
        blobs: counted?.blobs,
        manifests: counted?.manifests,
        freedBytes: freedBytes(before, await measure()),
      };
    },
    close: () => api.close(),
  };
}

async function replacePod(
  api: KubeRegistryApi,
  { workload: name, clock }: KubeRegistryKeeperOptions,
  isReadOnly: boolean,
  signal: AbortSignal,
): Promise<void> {
  const before = await api.workload(signal);
  const fault = workloadFault(name.kind, before);
  if (fault !== undefined) {
    const what = `${name.namespace}/${name.kind}/${name.name}`;
    throw new AppError('unavailable', `The registry ${what} cannot be collected: ${fault}.`);
  }
  await api.patch(switchPatch(before, isReadOnly, new Date(clock.now()).toISOString()), signal);
  for (;;) {
    await clock.sleep(pollMs, signal).catch(() => undefined);
    if (signal.aborted) {
      const message = "The registry's new pod was not ready in time: see why with kubectl describe.";
      throw new AppError('unavailable', message, { cause: signal.reason });
    }
    const now = await api.workload(signal);
    if (isRolledOut(name.kind, now, await api.pods(selectorText(now), signal))) return;
  }
}
