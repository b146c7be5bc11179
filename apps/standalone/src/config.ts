import { availableParallelism, totalmem } from 'node:os';
import {
  integer,
  namespaceVariables,
  natsVariables,
  oneOf,
  redisVariables,
  text,
  type Variable,
} from '@sluice/shared/config';
import { parseQuantity } from '@sluice/shared/contracts';
import { parseEngineAddress, type EngineAddress } from '@sluice/supervisor/adapters';

/** A Kubernetes quantity in a range. */
function quantity(spec: { why: string; min: number; fallback: number }): Variable<number> {
  return {
    why: spec.why,
    form: 'a quantity such as 4, 500m or 8Gi',
    fallback: { value: spec.fallback },
    parse: (value) => {
      const parsed = parseQuantity(value);
      if (parsed === undefined || parsed < spec.min)
        throw new Error(`"${value}" is not a quantity of at least ${spec.min}`);
      return parsed;
    },
  };
}

/** Where a container engine listens. */
function engineAddress(why: string): Variable<EngineAddress | undefined> {
  const form = 'an address such as unix:///var/run/docker.sock or tcp://host:port';
  return { why, form, fallback: { value: undefined }, parse: parseEngineAddress };
}

/** Memory that this process may use together with its children: the machine's, or the limit of its container. */
function machineMemory(): number {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}

/** Variables of what performs runs on this machine. */
export const executionVariables = {
  SLUICE_CPU: quantity({
    why: 'Cores that scripts may declare together; the default is all of this machine.',
    min: 0.001,
    fallback: availableParallelism(),
  }),
  SLUICE_MEMORY: quantity({
    why: 'Memory that scripts may declare together; the default is four fifths of this machine.',
    min: 1,
    fallback: Math.floor(machineMemory() * 0.8),
  }),
  DOCKER_HOST: engineAddress(
    'Address of a Docker or Podman engine on this machine: scripts then run in containers instead of as processes.',
  ),
  DOCKER_CONFIG: text({
    why: 'Folder of the config.json with the logins for registries that `docker login` stored; the default is ~/.docker.',
    fallback: undefined,
  }),
  SLUICE_SHELL: text({ why: 'The program that runs scripts: a POSIX shell.', fallback: '/bin/sh' }),
};

/** Variables of the standalone program beside those of its components. */
export const standaloneVariables = {
  SLUICE_DATA: text({
    why: 'The folder that holds buckets, database, logs and the password.',
    fallback: './data',
  }),
  SLUICE_PUBLIC_URL: text({
    why: 'Address that presigned URLs begin with, where clients reach the server by another one than it listens on.',
    fallback: undefined,
  }),
  SLUICE_LOG_LEVEL: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent'], {
    why: 'Log lines (JSON, on standard error) from this level on.',
    fallback: 'warn',
  }),
  SLUICE_LOG_LIMIT: integer({
    why: 'Bytes that are kept of what one run prints, beside its last lines.',
    min: 1024,
    max: 1_073_741_824,
    fallback: 10_485_760,
  }),
  ...namespaceVariables,
  ...natsVariables,
  ...redisVariables,
  ...executionVariables,
};
