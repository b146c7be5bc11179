import { parseQuantity, type ServiceDefinition } from '@sluice/shared/contracts';
import type { Requirements } from '../ports.ts';

/** What a definition declares (OSCAR §2.1: `cpu`, `memory`); OSCAR's defaults where it does not parse. */
export function requirementsOf(definition: Pick<ServiceDefinition, 'cpu' | 'memory'>): Requirements {
  return {
    cpuMillis: Math.max(1, Math.round((parseQuantity(definition.cpu) ?? 0.2) * 1000)),
    memoryBytes: Math.max(0, Math.round(parseQuantity(definition.memory) ?? 256 * 2 ** 20)),
  };
}

/** A definition that asks for more than the machine has gets the whole machine, alone. */
export function clampTo(capacity: Requirements, wanted: Requirements): Requirements {
  return {
    cpuMillis: Math.min(wanted.cpuMillis, capacity.cpuMillis),
    memoryBytes: Math.min(wanted.memoryBytes, capacity.memoryBytes),
  };
}

/** Whether whatever has room for `larger` has room for this. */
export function isWithin(wanted: Requirements, larger: Requirements): boolean {
  return wanted.cpuMillis <= larger.cpuMillis && wanted.memoryBytes <= larger.memoryBytes;
}
