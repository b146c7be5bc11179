import type { ImageReference } from '../contracts/index.ts';
import { AppError, isAppError } from '../errors/index.ts';
import {
  choosePlatform,
  readConfigFacts,
  readParts,
  type IndexEntry,
  type Part,
} from './registry-manifest.ts';
import {
  getBlob,
  getManifest,
  nameOf,
  unreadableImage,
  versionOf,
  type FoundManifest,
  type RegistryAccess,
} from './registry-requests.ts';

/** What an image consists of, and what its configuration tells. */
export interface ImageDetails {
  readonly digest: string;
  /** Bytes of layers (compressed) and configurations; of an index those of all that it names, shared ones once. */
  readonly size: number;
  /** Every blob and manifest that it needs, once. */
  readonly parts: readonly Part[];
  /** Epoch milliseconds, as the configuration says; of an index that of this platform's image, or its first one. */
  readonly createdAt: number | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/** Manifests of an index that are read: a dozen platforms, each with its attestation. */
const maxChildren = 64;

/** Undefined where there is no such image. */
export async function imageDetails(
  client: RegistryAccess,
  image: ImageReference,
): Promise<ImageDetails | undefined> {
  const signal = client.bound();
  const top = await unlessGone(getManifest(client, image, versionOf(image), signal));
  if (top === undefined) return undefined;
  const manifests = new Map([[top.digest, top.body.length]]);
  const blobs = new Map<string, number>();
  const found = readParts(nameOf(image), top.body);
  let config: string | undefined;
  if (found.kind === 'image') {
    for (const part of found.parts) blobs.set(part.digest, part.size);
    ({ config } = found);
  } else {
    const children = await readChildren(client, image, found.entries, signal);
    for (const { digest, size, parts } of children) {
      manifests.set(digest, size);
      for (const part of parts) blobs.set(part.digest, part.size);
    }
    config = configOf(client, image, found.entries, children);
  }
  const facts =
    config === undefined
      ? { createdAt: undefined, labels: {} }
      : readConfigFacts(nameOf(image), await getBlob(client, image, config, signal));
  const parts = [...manifests, ...blobs].map(([digest, size]) => ({ digest, size }));
  const size = [...blobs.values()].reduce((sum, one) => sum + one, 0);
  return { digest: top.digest, size, parts, ...facts };
}

interface Child extends Part {
  readonly config: string;
  readonly parts: readonly Part[];
}

async function readChildren(
  client: RegistryAccess,
  image: ImageReference,
  entries: readonly IndexEntry[],
  signal: AbortSignal,
): Promise<readonly Child[]> {
  if (entries.length > maxChildren) throw unreadableImage(image, `an index of ${entries.length} images`);
  const children: Child[] = [];
  for (const { digest } of entries) {
    // A mirror may have those of some platforms only.
    const child = await unlessGone(getManifest(client, image, digest, signal));
    if (child === undefined) continue;
    const inner = readParts(nameOf(image), child.body);
    if (inner.kind === 'index') throw unreadableImage(image, 'an index within an index');
    children.push({ digest, size: child.body.length, config: inner.config, parts: inner.parts });
  }
  return children;
}

function configOf(
  client: RegistryAccess,
  image: ImageReference,
  entries: readonly IndexEntry[],
  children: readonly Child[],
): string | undefined {
  const there = new Map(children.map((child) => [child.digest, child.config]));
  const real = entries.flatMap(({ digest, platform }) =>
    platform === undefined || !there.has(digest) ? [] : [{ digest, platform }],
  );
  if (real.length === 0) return children[0]?.config;
  try {
    return there.get(choosePlatform(nameOf(image), real, client.platform).digest);
  } catch (error) {
    if (!isAppError(error, 'unprocessable')) throw error;
    return there.get(real[0]?.digest ?? '');
  }
}

async function unlessGone(found: Promise<FoundManifest>): Promise<FoundManifest | undefined> {
  try {
    return await found;
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found') return undefined;
    throw error;
  }
}
