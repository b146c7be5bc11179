import { createHash } from 'node:crypto';
import type { BuildSpec } from '../ports.ts';

/** Part of every key: another number makes all earlier images strangers. */
const keyVersion = '1';

/**
 * Names what an image is made of: requests with the same key want the same image. The user is in it, so that nobody is answered with what another one made.
 * @param recipe version of the kind's recipe
 * @returns hex SHA-256
 */
export function buildKey(
  spec: Pick<
    BuildSpec,
    'user' | 'repository' | 'kind' | 'baseDigest' | 'toolImage' | 'file' | 'platforms' | 'sbom' | 'provenance'
  >,
  recipe: number,
): string {
  return hashOf([
    keyVersion,
    spec.user,
    spec.repository,
    spec.kind,
    `${recipe}`,
    spec.toolImage,
    spec.baseDigest,
    spec.platforms.toSorted().join(','),
    `${spec.sbom}${spec.provenance}`,
    // Last, and told apart from an empty one: it may hold whatever it likes.
    spec.file === undefined ? 'none' : `file\0${spec.file}`,
  ]);
}

/** The tag of a key's image in its user's repository; nobody may ask for one of this form. */
export function contentTag(kind: string, key: string): string {
  return `sluice-${kind}-${key.slice(0, 20)}`;
}

export function isContentTag(tag: string): boolean {
  return tag.startsWith('sluice-');
}

const ensureDomain = 'openserverless-runtime-builder-v1';

/** The id of a request by content (builder §1.6): the same whoever asks. */
export function ensureId(builder: string, kind: string, source: string, file: string): string {
  return hashOf([ensureDomain, builder, kind, source, file]);
}

export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hashOf(parts: readonly string[]): string {
  return sha256Hex(parts.join('\0'));
}
