import type { ServiceDefinition } from '@sluice/shared/contracts';
import { isExposed } from './service-normalise.ts';

/** What the api itself does not do of a definition, in sentences. */
export function ownWarnings(definition: ServiceDefinition): string[] {
  const warnings: string[] = [];
  if (isExposed(definition))
    warnings.push('expose is stored but not served: this installation runs jobs only');
  if (definition.synchronous.min_scale > 0 || definition.synchronous.max_scale > 0) {
    warnings.push('synchronous is stored but not used: this installation runs jobs only');
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
