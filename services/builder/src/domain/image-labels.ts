import type { BuildSpec } from '../ports.ts';
import { sha256Hex } from './build-key.ts';

/** Labels of built images: what an image says of itself, wherever it is found. */
export const labelNames = {
  user: 'io.sluice.build.user',
  kind: 'io.sluice.build.kind',
  key: 'io.sluice.build.key',
  base: 'org.opencontainers.image.base.name',
  baseDigest: 'org.opencontainers.image.base.digest',
  requirements: 'io.sluice.build.requirements',
} as const;

/** The same for the same content, so that the digest is: nothing of one request is in them. */
export function imageLabels(spec: BuildSpec, key: string): Readonly<Record<string, string>> {
  return {
    [labelNames.user]: spec.user,
    [labelNames.kind]: spec.kind,
    [labelNames.key]: key,
    [labelNames.base]: spec.source,
    [labelNames.baseDigest]: spec.baseDigest,
    ...(spec.file === undefined ? {} : { [labelNames.requirements]: sha256Hex(spec.file) }),
  };
}
