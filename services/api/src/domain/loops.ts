import type { ServiceDefinition, StorageIO } from '@sluice/shared/contracts';
import { isOwn } from './storage-path.ts';
import { splitPath } from '@sluice/shared/stores';

/** What the loop rule needs of a service; small, so that it can be kept for every service. */
export interface ServiceLinks {
  readonly name: string;
  readonly inputs: readonly Folder[];
  readonly outputs: readonly OutputFolder[];
}

interface Folder {
  readonly bucket: string;
  /** With its trailing slash; empty for the whole bucket. */
  readonly prefix: string;
}

interface OutputFolder extends Folder {
  /** Names that are uploaded begin with one of these; empty: any. */
  readonly names: readonly string[];
}

/** Where a definition reads and writes in the installation's own buckets. */
export function linksOf(definition: Pick<ServiceDefinition, 'name' | 'input' | 'output'>): ServiceLinks {
  return {
    name: definition.name,
    inputs: definition.input.filter((io) => isOwn(io)).map((io) => splitPath(io.path)),
    outputs: definition.output.filter((io) => isOwn(io)).map((io) => outputOf(io)),
  };
}

function outputOf(io: StorageIO): OutputFolder {
  return { ...splitPath(io.path), names: io.prefix ?? [] };
}

/**
 * Whether an object that the output writes can lie in the input's folder. A `suffix` never rules that out, since what comes
 * in is not filtered (OSCAR §2.1: prefix and suffix are output filters).
 */
export function feeds(output: OutputFolder, input: Folder): boolean {
  if (output.bucket !== input.bucket) return false;
  if (output.prefix.startsWith(input.prefix)) return true;
  if (!input.prefix.startsWith(output.prefix)) return false;
  // Only files in a deeper folder of the output arrive: `<output>/<rest>…`.
  const rest = input.prefix.slice(output.prefix.length);
  return (
    output.names.length === 0 || output.names.some((name) => name.startsWith(rest) || rest.startsWith(name))
  );
}

/**
 * The services through which the candidate's output can reach its own input, the candidate first and last; undefined
 * where it can't. Services named like the candidate are left out of `others` by this rule: they are its older version.
 */
export function findLoop(candidate: ServiceLinks, others: Iterable<ServiceLinks>): string[] | undefined {
  const readers = new Map<string, { service: ServiceLinks; input: Folder }[]>();
  for (const service of [candidate, ...[...others].filter(({ name }) => name !== candidate.name)]) {
    for (const input of service.inputs) {
      const list = readers.get(input.bucket) ?? [];
      list.push({ service, input });
      readers.set(input.bucket, list);
    }
  }
  const cameFrom = new Map<string, string>();
  const queue: ServiceLinks[] = [candidate];
  for (let service = queue.shift(); service !== undefined; service = queue.shift()) {
    for (const output of service.outputs) {
      for (const reader of readers.get(output.bucket) ?? []) {
        if (!feeds(output, reader.input)) continue;
        if (reader.service === candidate)
          return [...chainTo(service.name, candidate.name, cameFrom), candidate.name];
        if (cameFrom.has(reader.service.name)) continue;
        cameFrom.set(reader.service.name, service.name);
        queue.push(reader.service);
      }
    }
  }
  return undefined;
}

function chainTo(last: string, first: string, cameFrom: ReadonlyMap<string, string>): string[] {
  const chain = [last];
  for (let name = last; name !== first;) {
    name = cameFrom.get(name) ?? first;
    chain.unshift(name);
  }
  return chain;
}
