import type { ServiceDefinition } from '@sluice/shared/contracts';
import { isExposed } from './service-normalise.ts';

/** What the api itself does not do of a definition, in sentences. */
export function ownWarnings(definition: ServiceDefinition): string[] {
  const warnings: string[] = [];
  if (isExposed(definition))
    warnings.push('expose is stored but not served: use calls (POST /run) or files instead');
  if (definition.image_prefetch) {
    warnings.push('image_prefetch is not used: an image is pulled when a run or a runner needs it');
  }
  if (definition.interlink_node_name !== '') {
    warnings.push('interlink_node_name is not used: this installation has one machine');
  }
  for (const key of ['total_memory', 'total_cpu'] as const) {
    if (definition[key] !== '') {
      warnings.push(`${key} is not used: sluice.max_concurrency limits how many runs work side by side`);
    }
  }
  for (const [index, io] of definition.input.entries()) {
    if (io.prefix !== undefined || io.suffix !== undefined) {
      warnings.push(
        `input[${index}].prefix and suffix filter outputs only: every object of the folder is run`,
      );
    }
  }
  return warnings;
}
