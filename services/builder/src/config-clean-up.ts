import { ConfigError, integer, text, type ConfigOf, type Variable } from '@sluice/shared/config';
import type { CollectionLimits } from './domain/collection-phases.ts';
import { parseWorkload, type WorkloadName } from './domain/registry-workload.ts';
import type { RetentionPolicy } from './domain/retention.ts';

const tenYears = 315_360_000;

/** A program and its arguments as a JSON array. */
function command(why: string): Variable<readonly [string, ...string[]] | undefined> {
  const form = 'a JSON array of a program and its arguments, like ["docker","restart","registry"]';
  return { why, form, fallback: { value: undefined }, parse: (given) => parseCommand(given, form) };
}

const maxArguments = 100;

function parseCommand(given: string, form: string): readonly [string, ...string[]] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(given);
  } catch {
    throw new Error(`is no JSON; give ${form}`);
  }
  const isList = Array.isArray(parsed) && parsed.length <= maxArguments;
  const parts = isList ? (parsed as readonly unknown[]) : [];
  const [program, ...rest] = parts.filter(
    (part) => typeof part === 'string' && !part.includes('\0'),
  ) as string[];
  if (program === undefined || program === '' || rest.length !== parts.length - 1)
    throw new Error(`is not ${form}`);
  return [program, ...rest];
}

function workload(why: string): Variable<WorkloadName | undefined> {
  const form = '<namespace>/deployment/<name> or <namespace>/statefulset/<name>';
  const parse = (given: string): WorkloadName => {
    const parsed = parseWorkload(given);
    if (parsed === undefined) throw new Error(`"${given}" is not ${form}`);
    return parsed;
  };
  return { why, form, fallback: { value: undefined }, parse };
}

/** Variables of retention and of the registry's garbage collection. */
export const cleanUpVariables = {
  SLUICE_IMAGE_UNUSED: integer({
    why: 'Seconds after which a built image goes that no service names and no request was answered with; 0: never.',
    min: 0,
    max: tenYears,
    fallback: 2_592_000,
  }),
  SLUICE_IMAGE_MAX_AGE: integer({
    why: 'Seconds after which a built image goes that no service names, however often requests are answered with it; 0: never.',
    min: 0,
    max: tenYears,
    fallback: 0,
  }),
  SLUICE_IMAGE_KEEP: integer({
    why: 'Built images that each user keeps beside those that services name, tags of one image counted once; those that were made or used longest ago go first. 0: all.',
    min: 0,
    max: 100_000,
    fallback: 200,
  }),
  SLUICE_IMAGE_MIN_AGE: integer({
    why: 'Seconds in which a built image stays whatever the other limits say, from when it was made or last used.',
    min: 0,
    max: tenYears,
    fallback: 86_400,
  }),
  SLUICE_CACHE_UNUSED: integer({
    why: "Seconds without builds after which the layer cache of a user's kind of image goes; 0: never.",
    min: 0,
    max: tenYears,
    fallback: 1_209_600,
  }),
  SLUICE_IMAGE_PRUNE_INTERVAL: integer({
    why: 'Seconds between two rounds of retention of images; 0: only when an administrator asks.',
    min: 0,
    max: tenYears,
    fallback: 21_600,
  }),
  SLUICE_IMAGE_PRUNE_TIMEOUT: integer({
    why: 'Seconds that one round may take; the next one goes on where it ended.',
    min: 1,
    max: 86_400,
    fallback: 1800,
  }),
  SLUICE_REGISTRY_COLLECT_INTERVAL: integer({
    why: "Seconds between two collections of the registry's garbage, where its commands are set; 0: only when an administrator asks. No build begins meanwhile, and nothing can be pushed.",
    min: 0,
    max: tenYears,
    fallback: 86_400,
  }),
  SLUICE_REGISTRY_READONLY_COMMAND: command(
    'Makes the registry read-only and restarts it; with it, the two others have to be set. Without them nobody collects.',
  ),
  SLUICE_REGISTRY_WRITABLE_COMMAND: command(
    'Makes the registry writable and restarts it, which is what makes pushes work after a collection.',
  ),
  SLUICE_REGISTRY_COLLECT_COMMAND: command(
    'Runs "registry garbage-collect --delete-untagged" on the storage of the registry.',
  ),
  SLUICE_REGISTRY_USAGE_COMMAND: command(
    'Prints the KiB that the storage of the registry takes, as "du -sk" does: what a collection freed is told then.',
  ),
  SLUICE_REGISTRY_WORKLOAD: workload(
    'The registry in the cluster of KUBECONFIG, or of this pod, in place of the commands: it is switched by a variable of its one pod and collected by a program in it.',
  ),
  SLUICE_REGISTRY_CONFIG: text({
    why: "The registry's configuration in the container of SLUICE_REGISTRY_WORKLOAD.",
    fallback: '/etc/distribution/config.yml',
  }),
  SLUICE_REGISTRY_STORAGE: text({
    why: "The registry's storage in the container of SLUICE_REGISTRY_WORKLOAD, which is measured.",
    fallback: '/var/lib/registry',
  }),
  SLUICE_REGISTRY_DRAIN_TIMEOUT: integer({
    why: 'Seconds that a collection waits for builds under way; it gives up then.',
    min: 1,
    max: 86_400,
    fallback: 2400,
  }),
  SLUICE_REGISTRY_SWITCH_TIMEOUT: integer({
    why: 'Seconds that one change between read-only and writable may take, the restart included.',
    min: 1,
    max: 3600,
    fallback: 120,
  }),
  SLUICE_REGISTRY_COLLECT_TIMEOUT: integer({
    why: 'Seconds that the collection itself may take; it is broken off then, and the next one goes on.',
    min: 1,
    max: 86_400,
    fallback: 3600,
  }),
};

export type CleanUpConfig = ConfigOf<typeof cleanUpVariables>;

/** 0 is off. */
function msOrOff(seconds: number): number | undefined {
  return seconds === 0 ? undefined : seconds * 1000;
}

export function retentionPolicyOf(config: CleanUpConfig): RetentionPolicy {
  return {
    minAgeMs: config.SLUICE_IMAGE_MIN_AGE * 1000,
    maxAgeMs: msOrOff(config.SLUICE_IMAGE_MAX_AGE),
    unusedMs: msOrOff(config.SLUICE_IMAGE_UNUSED),
    keep: config.SLUICE_IMAGE_KEEP === 0 ? undefined : config.SLUICE_IMAGE_KEEP,
  };
}

export function collectionLimitsOf(config: CleanUpConfig): CollectionLimits {
  return {
    drainMs: config.SLUICE_REGISTRY_DRAIN_TIMEOUT * 1000,
    switchMs: config.SLUICE_REGISTRY_SWITCH_TIMEOUT * 1000,
    collectMs: config.SLUICE_REGISTRY_COLLECT_TIMEOUT * 1000,
  };
}

/**
 * The commands that take care of the registry; undefined where there are none.
 * @throws ConfigError where only some of them are set, or SLUICE_REGISTRY_WORKLOAD as well
 */
export function registryCommandsOf(config: CleanUpConfig):
  | {
      readonly readOnly: readonly [string, ...string[]];
      readonly writable: readonly [string, ...string[]];
      readonly collect: readonly [string, ...string[]];
      readonly usage: readonly [string, ...string[]] | undefined;
    }
  | undefined {
  const readOnly = config.SLUICE_REGISTRY_READONLY_COMMAND;
  const writable = config.SLUICE_REGISTRY_WRITABLE_COMMAND;
  const collect = config.SLUICE_REGISTRY_COLLECT_COMMAND;
  const needed = {
    SLUICE_REGISTRY_READONLY_COMMAND: readOnly,
    SLUICE_REGISTRY_WRITABLE_COMMAND: writable,
    SLUICE_REGISTRY_COLLECT_COMMAND: collect,
  };
  if (
    config.SLUICE_REGISTRY_WORKLOAD !== undefined &&
    Object.values(needed).some((value) => value !== undefined)
  ) {
    const message = 'is set together with commands for the registry; keep one of the two';
    throw new ConfigError([{ variable: 'SLUICE_REGISTRY_WORKLOAD', message }]);
  }
  const missing = Object.entries(needed).flatMap(([name, value]) => (value === undefined ? [name] : []));
  if (missing.length === 3) return undefined;
  if (readOnly !== undefined && writable !== undefined && collect !== undefined)
    return { readOnly, writable, collect, usage: config.SLUICE_REGISTRY_USAGE_COMMAND };
  throw new ConfigError(
    missing.map((variable) => ({
      variable,
      message: 'is missing beside the other commands for the registry; set all three, or none',
    })),
  );
}

/** What commands for the registry see of the environment; the rest holds secrets of ours. */
const commandNames = [
  'PATH',
  'HOME',
  'TMPDIR',
  'LANG',
  'DOCKER_HOST',
  'DOCKER_CONFIG',
  'DOCKER_CONTEXT',
  'XDG_RUNTIME_DIR',
  'KUBECONFIG',
];

export function commandEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    commandNames.flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}
