import type { ImageReference } from '../contracts/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { createRegistryAuth, type AskRegistry } from './registry-auth.ts';
import { imageDetails, type ImageDetails } from './registry-details.ts';
import { apiHost } from './registry-hosts.ts';
import type { RegistryLogins } from './registry-logins.ts';
import {
  choosePlatform,
  platformText,
  readConfig,
  readManifest,
  type Platform,
} from './registry-manifest.ts';
import {
  getBlob,
  getManifest,
  headManifest,
  nameOf,
  parseReference,
  unreadableImage,
  versionOf,
  type RegistryAccess,
} from './registry-requests.ts';
import { deleteManifest, deleteTag, listTags, putTag } from './registry-tags.ts';
import { createRegistryTransport } from './registry-transport.ts';

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
  /** What an image consists of; undefined where there is none. Throws as `imageFacts` does. */
  imageDetails(reference: string): Promise<ImageDetails | undefined>;
  /**
   * Gives a manifest another tag, which may have named another one before.
   * @param repository without tag
   */
  putTag(repository: string, digest: string, tag: string): Promise<void>;
  /**
   * Removes one tag, and no other of the same manifest; what is gone already is no failure.
   * @throws AppError `unsupported` where the registry deletes nothing
   */
  deleteTag(repository: string, tag: string): Promise<void>;
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
  /** Registries that are asked for what others have, by the name of the other: `docker.io`. Only for what is read. */
  readonly mirrors?: Readonly<Record<string, string>>;
  /** Certificates (PEM) that are trusted beside the system's. */
  readonly ca?: string | undefined;
  /** Whose images are looked at. */
  readonly platform: Platform;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Milliseconds that one answer of this client may take, all requests for it together. @default 20000 */
  readonly timeoutMs?: number;
}

export function createRegistryClient(deps: RegistryClientDeps): RegistryClient {
  const transport = createRegistryTransport({ insecure: deps.insecure ?? [], ca: deps.ca });
  const client: RegistryAccess = {
    ask: mirrored(createRegistryAuth({ ...deps, transport }), deps.mirrors ?? {}),
    platform: deps.platform,
    bound: () => AbortSignal.timeout(deps.timeoutMs ?? 20_000),
  };
  return {
    imageFacts: async (reference) => imageFacts(client, parseReference(reference)),
    headManifest: async (reference) => headManifest(client, parseReference(reference)),
    imageDetails: async (reference) => imageDetails(client, parseReference(reference)),
    putTag: async (repository, digest, tag) => putTag(client, repository, digest, tag),
    deleteTag: async (repository, tag) => deleteTag(client, repository, tag),
    deleteManifest: async (reference) => deleteManifest(client, parseReference(reference)),
    listTags: async (repository, page = {}) => listTags(client, repository, page),
    close: () => transport.close(),
  };
}

function mirrored(ask: AskRegistry, mirrors: Readonly<Record<string, string>>): AskRegistry {
  return async (target, path, request) => {
    const mirror = target.actions === 'pull' ? mirrors[target.registry] : undefined;
    const asked = mirror === undefined ? target : { ...target, registry: mirror, host: apiHost(mirror) };
    return ask(asked, path, request);
  };
}

async function imageFacts(client: RegistryAccess, image: ImageReference): Promise<ImageFacts> {
  const signal = client.bound();
  const top = await getManifest(client, image, versionOf(image), signal);
  const manifest = readManifest(nameOf(image), top.body);
  let config: string;
  let platforms: readonly Platform[] | undefined;
  if (manifest.kind === 'index') {
    platforms = manifest.entries.map((entry) => entry.platform);
    const { digest } = choosePlatform(nameOf(image), manifest.entries, client.platform);
    const inner = readManifest(nameOf(image), (await getManifest(client, image, digest, signal)).body);
    if (inner.kind === 'index') throw unreadableImage(image, 'an index within an index');
    config = inner.config;
  } else {
    config = manifest.config;
  }
  const { user, platform } = readConfig(nameOf(image), await getBlob(client, image, config, signal));
  if (platforms === undefined) choosePlatform(nameOf(image), [{ platform, digest: config }], client.platform);
  return { digest: top.digest, user, platforms: (platforms ?? [platform]).map(platformText) };
}
