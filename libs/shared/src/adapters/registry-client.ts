import { createHash } from 'node:crypto';
import { parseImage, parseImagePrefix, type ImageReference } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { createRegistryAuth, type AskRegistry, type RegistryTarget } from './registry-auth.ts';
import { registryFailure } from './registry-errors.ts';
import { apiHost } from './registry-hosts.ts';
import type { RegistryLogins } from './registry-logins.ts';
import {
  choosePlatform,
  platformText,
  readConfig,
  readManifest,
  type Platform,
} from './registry-manifest.ts';
import { createRegistryTransport, type RegistryAnswer } from './registry-transport.ts';

/** What is known of an image without pulling it. */
export interface ImageFacts {
  /** Of what the reference names: the index where it is one. `sha256:…` */
  readonly digest: string;
  /** `USER` of the image for this platform, as it was written: empty, a name, `uid`, `uid:gid`. */
  readonly user: string;
  /** `linux/amd64`, `linux/arm64/v8`. */
  readonly platforms: readonly string[];
}

/** Reads what registries tell of images (OCI Distribution, `https://github.com/opencontainers/distribution-spec`). */
export interface RegistryClient {
  /**
   * @throws AppError `invalid_input` for what is no reference, `not_found`, `forbidden` (registries say it of images that are not there, too),
   * `limit_reached` where the registry wants fewer requests, `unavailable`; `unprocessable` where there is no image for this platform
   */
  imageFacts(reference: string): Promise<ImageFacts>;
  /** Undefined where there is none. */
  headManifest(
    reference: string,
  ): Promise<{ readonly digest: string; readonly mediaType: string } | undefined>;
  /**
   * Removes a manifest and all tags that name it; what is gone already is no failure.
   * @param reference with a digest
   * @throws AppError `unsupported` where the registry deletes nothing
   */
  deleteManifest(reference: string): Promise<void>;
  /**
   * One page of a repository's tags; `after` is the `next` of the page before.
   * @param repository without tag; of one that is not there the list is empty
   */
  listTags(
    repository: string,
    page?: { readonly after?: string; readonly limit?: number },
  ): Promise<{ readonly tags: readonly string[]; readonly next?: string }>;
  close(): Promise<void>;
}

export interface RegistryClientDeps {
  readonly logins: RegistryLogins;
  /** Registries (`host`, `host:port`) that may be spoken to without TLS, beside this machine's and those of private networks. */
  readonly insecure?: readonly string[];
  /** Certificates (PEM) that are trusted beside the system's. */
  readonly ca?: string | undefined;
  /** Whose images are looked at. */
  readonly platform: Platform;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Milliseconds that one answer of this client may take, all requests for it together. @default 20000 */
  readonly timeoutMs?: number;
}

const manifestBytes = 4 * 1024 * 1024;
const maxPage = 1000;
const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

interface Client {
  readonly ask: AskRegistry;
  readonly platform: Platform;
  /** A new one for each answer. */
  readonly bound: () => AbortSignal;
}

export function createRegistryClient(deps: RegistryClientDeps): RegistryClient {
  const transport = createRegistryTransport({ insecure: deps.insecure ?? [], ca: deps.ca });
  const client: Client = {
    ask: createRegistryAuth({ ...deps, transport }),
    platform: deps.platform,
    bound: () => AbortSignal.timeout(deps.timeoutMs ?? 20_000),
  };
  return {
    imageFacts: async (reference) => imageFacts(client, parse(reference)),
    headManifest: async (reference) => headManifest(client, parse(reference)),
    deleteManifest: async (reference) => deleteManifest(client, parse(reference)),
    listTags: async (repository, page = {}) => listTags(client, repository, page),
    close: () => transport.close(),
  };
}

async function imageFacts(client: Client, image: ImageReference): Promise<ImageFacts> {
  const signal = client.bound();
  const top = await getManifest(client, image, versionOf(image), signal);
  const manifest = readManifest(nameOf(image), top.body);
  let config: string;
  let platforms: readonly Platform[] | undefined;
  if (manifest.kind === 'index') {
    platforms = manifest.entries.map((entry) => entry.platform);
    const { digest } = choosePlatform(nameOf(image), manifest.entries, client.platform);
    const inner = readManifest(nameOf(image), (await getManifest(client, image, digest, signal)).body);
    if (inner.kind === 'index') throw unreadable(image, 'an index within an index');
    config = inner.config;
  } else {
    config = manifest.config;
  }
  const answer = await get(client, image, `blobs/${config}`, 'application/octet-stream, */*', signal);
  checkDigest(image, answer.body, config);
  const { user, platform } = readConfig(nameOf(image), answer.body);
  if (platforms === undefined) choosePlatform(nameOf(image), [{ platform, digest: config }], client.platform);
  return { digest: top.digest, user, platforms: (platforms ?? [platform]).map(platformText) };
}

async function getManifest(
  client: Client,
  image: ImageReference,
  version: string,
  signal: AbortSignal,
): Promise<{ readonly body: Buffer; readonly digest: string }> {
  const answer = await get(client, image, `manifests/${version}`, manifestTypes, signal);
  if (version.includes(':')) {
    checkDigest(image, answer.body, version);
    return { body: answer.body, digest: version };
  }
  // Of what came, not what the header says of it.
  return { body: answer.body, digest: `sha256:${createHash('sha256').update(answer.body).digest('hex')}` };
}

async function get(
  client: Client,
  image: ImageReference,
  what: string,
  accept: string,
  signal: AbortSignal,
): Promise<RegistryAnswer> {
  const target = targetOf(image, 'pull');
  const path = `/v2/${target.repository}/${what}`;
  const headers = { accept };
  const answer = await client.ask(target, path, { method: 'GET', headers, maxBytes: manifestBytes, signal });
  if (answer.status !== 200) throw registryFailure(target, answer, nameOf(image));
  return answer;
}

async function headManifest(
  client: Client,
  image: ImageReference,
): Promise<{ readonly digest: string; readonly mediaType: string } | undefined> {
  const target = targetOf(image, 'pull');
  const path = `/v2/${target.repository}/manifests/${versionOf(image)}`;
  const request = {
    method: 'HEAD',
    headers: { accept: manifestTypes },
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

async function deleteManifest(client: Client, image: ImageReference): Promise<void> {
  if (image.digest === undefined) {
    throw new AppError('invalid_input', 'Only a manifest that is named by its digest can be deleted.');
  }
  const target = targetOf(image, 'delete');
  const path = `/v2/${target.repository}/manifests/${image.digest}`;
  const request = { method: 'DELETE', headers: {}, maxBytes: manifestBytes, signal: client.bound() } as const;
  const answer = await client.ask(target, path, request);
  if (answer.status === 404 || (answer.status >= 200 && answer.status < 300)) return;
  throw registryFailure(target, answer, nameOf(image));
}

async function listTags(
  client: Client,
  text: string,
  page: { readonly after?: string; readonly limit?: number },
): Promise<{ readonly tags: readonly string[]; readonly next?: string }> {
  const image = parseImagePrefix(text);
  if (image === undefined || image.repository.length === 0) throw notAnImage(text);
  const target = targetOf(image, 'pull');
  const path = `/v2/${target.repository}/tags/list`;
  const limit = Math.min(Math.max(page.limit ?? maxPage, 1), maxPage);
  const query = page.after ?? `?n=${limit}`;
  const request = { method: 'GET', headers: {}, maxBytes: manifestBytes, signal: client.bound() } as const;
  const answer = await client.ask(target, `${path}${query}`, request);
  if (answer.status === 404) return { tags: [] };
  if (answer.status !== 200) throw registryFailure(target, answer);
  const next = nextQuery(target.host, path, answer.header('link'));
  return { tags: readTags(target, answer.body), ...(next === undefined ? {} : { next }) };
}

function readTags(target: RegistryTarget, body: Buffer): readonly string[] {
  try {
    const { tags } = JSON.parse(body.toString()) as { tags?: unknown };
    if (tags === null) return [];
    if (Array.isArray(tags) && tags.every((tag) => typeof tag === 'string')) return tags;
  } catch {
    // Said below.
  }
  throw new AppError(
    'unavailable',
    `The registry ${target.registry} gives a list of tags that cannot be read.`,
  );
}

/** The query of `Link: </v2/…/tags/list?…>; rel="next"`, where it leads to the same list. */
function nextQuery(host: string, path: string, link: string | undefined): string | undefined {
  const address = /<([^>]*)>\s*;[^,]*rel="?next"?/i.exec(link ?? '')?.[1];
  const base = `https://${host}${path}`;
  if (address === undefined || !URL.canParse(address, base)) return undefined;
  const url = new URL(address, base);
  return url.pathname === path && url.search !== '' ? url.search : undefined;
}

function parse(text: string): ImageReference {
  const image = parseImage(text);
  if (image === undefined) throw notAnImage(text);
  return image;
}

function notAnImage(text: string): AppError {
  return new AppError('invalid_input', `"${text.slice(0, 200)}" is not the name of an image.`, {
    field: 'image',
  });
}

function targetOf(
  image: Pick<ImageReference, 'registry' | 'repository'>,
  actions: RegistryTarget['actions'],
): RegistryTarget {
  const { registry } = image;
  return { registry, host: apiHost(registry), repository: image.repository.join('/'), actions };
}

function versionOf(image: ImageReference): string {
  return image.digest ?? image.tag ?? 'latest';
}

function nameOf(image: ImageReference): string {
  const name = [image.registry, ...image.repository].join('/');
  return image.digest === undefined ? `${name}:${versionOf(image)}` : `${name}@${image.digest}`;
}

function checkDigest(image: ImageReference, body: Buffer, digest: string): void {
  const [algorithm = '', expected = ''] = digest.split(':');
  if (algorithm !== 'sha256' && algorithm !== 'sha512') throw unreadable(image, `a digest of ${algorithm}`);
  const found = createHash(algorithm).update(body).digest('hex');
  if (found === expected.toLowerCase()) return;
  throw new AppError(
    'unavailable',
    `The registry sends other bytes of ${nameOf(image)} than its digest says.`,
  );
}

function unreadable(image: ImageReference, what: string): AppError {
  return new AppError('unprocessable', `The image ${nameOf(image)} has ${what}, which nobody can read here.`);
}
