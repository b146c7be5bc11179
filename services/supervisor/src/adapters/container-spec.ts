import type { ContainerNeeds } from '../domain/container-needs.ts';
import type { ContainerSpec, EngineFacts, EngineImage } from './container-engine.ts';

/** Processes and threads of one container: enough for any program, too few for a fork bomb to matter. */
const maxProcesses = 4096;
/** What Docker itself needs to start a process in a container; it refuses less. */
const smallestMemory = 6 * 2 ** 20;
const smallestCpuMillis = 10;
/** Where the script is in its container: its name on the host says where the server keeps things. */
export const scriptTarget = '/sluice/script.sh';

export interface SpecParts {
  readonly needs: ContainerNeeds;
  readonly image: EngineImage;
  readonly facts: EngineFacts;
  readonly instance: string;
  /** Whose files the container's are. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** Mounted at the same path, writable. */
  readonly workDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly graceMs: number;
}

/**
 * The container of an attempt. Its script prints into one pipe, so that both streams stay in order (OSCAR §7.5 joins them); its `sh` is `/bin/sh` whatever the
 * image's entry point is. The layer above the image is writable, since scripts expect a `/tmp`; it goes with the container.
 */
export function attemptSpec(parts: SpecParts, scriptPath: string): ContainerSpec {
  const spec = commonSpec(parts);
  const script = { Type: 'bind', Source: scriptPath, Target: scriptTarget, ReadOnly: true } as const;
  return {
    ...spec,
    Cmd: shellCommand(scriptTarget).slice(1),
    Env: environment(parts),
    HostConfig: { ...spec.HostConfig, Mounts: [...(spec.HostConfig?.Mounts ?? []), script] },
  };
}

/** A container that only waits, for scripts that are started in it: its shell reads what nobody writes. */
export function warmSpec(parts: SpecParts): ContainerSpec {
  return { ...commonSpec(parts), Cmd: ['-c', 'read -r nothing'], OpenStdin: true, Env: environment(parts) };
}

export function shellCommand(scriptPath: string): string[] {
  return ['/bin/sh', '-c', 'exec /bin/sh "$0" 2>&1', scriptPath];
}

/** Variables that are added to the image's. `HOME` is a folder that can be written, unless the image or the service says where it is. */
export function environment({ env, image, workDir }: Pick<SpecParts, 'env' | 'image' | 'workDir'>): string[] {
  const home = image.variables.includes('HOME') ? {} : { HOME: workDir };
  return Object.entries({ ...home, ...env }).map(([name, value]) => `${name}=${value}`);
}

function commonSpec(parts: SpecParts): ContainerSpec {
  const { needs, image, facts, user, workDir } = parts;
  const memory = Math.max(smallestMemory, needs.memoryBytes);
  return {
    Image: image.id,
    Entrypoint: ['/bin/sh'],
    WorkingDir: workDir,
    // The engine's own user is root in the containers of an engine without root.
    User: facts.rootless ? '0:0' : `${user.uid}:${user.gid}`,
    Labels: { 'sluice.instance': parts.instance, ...needs.labels },
    Tty: false,
    AttachStdout: true,
    AttachStderr: true,
    StopSignal: 'SIGTERM',
    StopTimeout: Math.ceil(parts.graceMs / 1000),
    // A check of the image is one more program that runs beside the script.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      Memory: memory,
      // The sum of memory and swap: no swap.
      MemorySwap: memory,
      NanoCpus: Math.min(Math.max(smallestCpuMillis, needs.cpuMillis), facts.cores * 1000) * 1e6,
      PidsLimit: maxProcesses,
      NetworkMode: needs.network ? 'bridge' : 'none',
      CapDrop: ['ALL'],
      // With SELinux a bind mount would have to be relabelled, which the server's own folders must not be.
      SecurityOpt: ['no-new-privileges', ...(facts.selinux ? ['label=disable'] : [])],
      Privileged: false,
      Init: true,
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
      Mounts: [{ Type: 'bind', Source: workDir, Target: workDir, ReadOnly: false }],
      ...(facts.userNamespaces ? { UsernsMode: 'host' } : {}),
    },
  };
}
