import { parseQuantity, type AttemptPlan } from '@sluice/shared/contracts';

/** What a container for a service's scripts has to be. */
export interface ContainerNeeds {
  /** As the definition names it. */
  readonly image: string;
  /** Undefined: `Always`, but `IfNotPresent` for an image that is named by its digest. */
  readonly pullPolicy: 'Always' | 'IfNotPresent' | undefined;
  readonly network: boolean;
  /** Thousandths of a core. */
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  /** As the definition writes it, for sentences: `512Mi`. */
  readonly memoryText: string;
  /** What the container is marked with, beside the installation. */
  readonly labels: Readonly<Record<string, string>>;
}

/** A service's container; OSCAR's defaults (§2.1) where a quantity does not parse. */
export function containerNeeds(
  definition: Pick<AttemptPlan['definition'], 'name' | 'image' | 'cpu' | 'memory' | 'sluice'>,
): ContainerNeeds {
  const { image, cpu, memory, sluice } = definition;
  return {
    image,
    pullPolicy: pullPolicy(sluice?.image_pull_policy),
    network: sluice?.network ?? false,
    cpuMillis: Math.max(1, Math.round((parseQuantity(cpu) ?? 0.2) * 1000)),
    memoryBytes: Math.max(1, Math.round(parseQuantity(memory) ?? 256 * 2 ** 20)),
    memoryText: memory,
    labels: { 'sluice.service': definition.name },
  };
}

function pullPolicy(given: string | undefined): ContainerNeeds['pullPolicy'] {
  return given === 'Always' || given === 'IfNotPresent' ? given : undefined;
}

/** The container of one attempt. */
export function attemptContainer(plan: AttemptPlan): ContainerNeeds {
  const needs = containerNeeds(plan.definition);
  const labels = { ...needs.labels, 'sluice.run': plan.run_id, 'sluice.attempt': `${plan.attempt}` };
  return { ...needs, labels };
}
