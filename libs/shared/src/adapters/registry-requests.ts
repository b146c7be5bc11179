import { createHash } from 'node:crypto';
import { parseImage, type ImageReference } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { AskRegistry, RegistryTarget } from './registry-auth.ts';
import { registryFailure } from './registry-errors.ts';
import { apiHost } from './registry-hosts.ts';
import type { Platform } from './registry-manifest.ts';
import type { RegistryAnswer } from './registry-transport.ts';

/** What the parts of a registry client share. */
export interface RegistryAccess {
  readonly ask: AskRegistry;
  readonly platform: Platform;
  /** A new one for each answer. */
  readonly bound: () => AbortSignal;
}

export interface FoundManifest {
  readonly body: Buffer;
  readonly digest: string;
  readonly mediaType: string;
}

/** Bytes of any answer that are read. */
export const answerBytes = 4 * 1024 * 1024;
export const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
/** Registries send a manifest of any other type as one of these, or not at all. */
export const acceptManifests = manifestTypes.join(', ');

export async function getManifest(
  client: RegistryAccess,
  image: ImageReference,
  version: string,
  signal: AbortSignal,
): Promise<FoundManifest> {
  const answer = await getPart(client, image, `manifests/${version}`, acceptManifests, signal);
  const mediaType = (answer.header('content-type') ?? '').replace(/;.*$/, '').trim();
  if (version.includes(':')) {
    checkDigest(image, answer.body, version);
    return { body: answer.body, digest: version, mediaType };
  }
  // Of what came, not what the header says of it.
  const digest = `sha256:${createHash('sha256').update(answer.body).digest('hex')}`;
  return { body: answer.body, digest, mediaType };
}

/** A blob whose bytes are those of its digest. */
export async function getBlob(
  client: RegistryAccess,
  image: ImageReference,
  digest: string,
  signal: AbortSignal,
): Promise<Buffer> {
  const answer = await getPart(client, image, `blobs/${digest}`, 'application/octet-stream, */*', signal);
  checkDigest(image, answer.body, digest);
  return answer.body;
}

async function getPart(
  client: RegistryAccess,
  image: ImageReference,
  what: string,
  accept: string,
  signal: AbortSignal,
): Promise<RegistryAnswer> {
  const target = targetOf(image, 'pull');
  const path = `/v2/${target.repository}/${what}`;
  const headers = { accept };
  const answer = await client.ask(target, path, { method: 'GET', headers, maxBytes: answerBytes, signal });
  if (answer.status !== 200) throw registryFailure(target, answer, nameOf(image));
  return answer;
}

export async function headManifest(
  client: RegistryAccess,
  image: ImageReference,
): Promise<{ readonly digest: string; readonly mediaType: string } | undefined> {
  const target = targetOf(image, 'pull');
  const path = `/v2/${target.repository}/manifests/${versionOf(image)}`;
  const request = {
    method: 'HEAD',
    headers: { accept: acceptManifests },
    maxBytes: 0,
    signal: client.bound(),
  } as const;
  const answer = await client.ask(target, path, request);
  if (answer.status === 404) return undefined;
  if (answer.status !== 200) throw registryFailure(target, answer, nameOf(image));
  const mediaType = answer.header('content-type') ?? '';
  const digest = image.digest ?? answer.header('docker-content-digest');
  if (digest !== undefined) return { digest, mediaType };
  // Not every registry sends it with a HEAD (the specification lets it).
  return { digest: (await getManifest(client, image, versionOf(image), client.bound())).digest, mediaType };
}

export function parseReference(text: string): ImageReference {
  const image = parseImage(text);
  if (image === undefined) throw notAnImage(text);
  return image;
}

export function notAnImage(text: string): AppError {
  return new AppError('invalid_input', `"${text.slice(0, 200)}" is not the name of an image.`, {
    field: 'image',
  });
}

export function targetOf(
  image: Pick<ImageReference, 'registry' | 'repository'>,
  actions: RegistryTarget['actions'],
): RegistryTarget {
  const { registry } = image;
  return { registry, host: apiHost(registry), repository: image.repository.join('/'), actions };
}

export function versionOf(image: ImageReference): string {
  return image.digest ?? image.tag ?? 'latest';
}

export function nameOf(image: ImageReference): string {
  const name = [image.registry, ...image.repository].join('/');
  return image.digest === undefined ? `${name}:${versionOf(image)}` : `${name}@${image.digest}`;
}

function checkDigest(image: ImageReference, body: Buffer, digest: string): void {
  const [algorithm = '', expected = ''] = digest.split(':');
  if (algorithm !== 'sha256' && algorithm !== 'sha512')
    throw unreadableImage(image, `a digest of ${algorithm}`);
  const found = createHash(algorithm).update(body).digest('hex');
  if (found === expected.toLowerCase()) return;
  throw new AppError(
    'unavailable',
    `The registry sends other bytes of ${nameOf(image)} than its digest says.`,
  );
}

export function unreadableImage(image: ImageReference, what: string): AppError {
  return new AppError('unprocessable', `The image ${nameOf(image)} has ${what}, which nobody can read here.`);
}
