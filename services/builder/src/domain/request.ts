import {
  imageIsUnder,
  isBuildKind,
  parseImage,
  type BuildCaller,
  type BuildKind,
  type BuildRequest,
  type ImagePrefix,
  type ImageReference,
} from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { isContentTag } from './build-key.ts';
import { isKeepingTag } from './retention.ts';

/** Where base images may come from, and how large a file may be. */
export interface RequestRules {
  /** Registries and repositories; none: all. */
  readonly bases: readonly ImagePrefix[];
  /** Registries whose repositories belong to users, each to the one it is named after. */
  readonly ownRegistries: readonly string[];
  readonly fileBytes: number;
  /** Whether a registry is of an inner network by its name, and nobody said that base images may come from there. */
  readonly isInner: (registry: string) => boolean;
}

/** A request whose every part is safe to hand on. */
export interface CheckedRequest {
  readonly kind: BuildKind;
  readonly source: ImageReference;
  /** Of `<login>:<tag>`. */
  readonly tag: string;
  readonly file: string | undefined;
  readonly force: boolean;
  readonly platforms: readonly string[];
  readonly sbom: boolean;
  readonly provenance: boolean;
}

const tagForm = /^\w[\w.-]{0,127}$/;
const loginForm = /^[a-z0-9]{1,61}$/;
const platformForm = /^[a-z0-9]{1,20}\/[a-z0-9]{1,20}(?:\/[a-z0-9]{1,10})?$/;
const maxPlatforms = 8;

/**
 * Checks all that a caller may say (builder §5.1: nothing of it reaches a shell, a Dockerfile or BuildKit unchecked).
 * @throws AppError `invalid_input` with the field; `forbidden` for a base image that this caller may not use; `too_large`
 */
export function checkRequest(
  caller: BuildCaller,
  request: BuildRequest,
  rules: RequestRules,
): CheckedRequest {
  if (!loginForm.test(caller.login))
    throw invalid('user', 'A user who builds has a name of a to z and 0 to 9.');
  const { kind, file } = request;
  if (!isBuildKind(kind)) throw invalid('kind', `The kind ${quoted(kind)} is unknown.`);
  if (file !== undefined && Buffer.byteLength(file) > rules.fileBytes) {
    throw new AppError('too_large', `The requirements file is larger than ${rules.fileBytes} bytes.`, {
      field: 'file',
    });
  }
  return {
    kind,
    source: checkSource(caller, request.source, rules),
    tag: checkTarget(caller, request.target),
    file,
    force: request.force === true,
    platforms: checkPlatforms(request.platforms ?? []),
    sbom: request.sbom === true,
    provenance: request.provenance === true,
  };
}

/** @throws AppError `invalid_input` for what is no `<login>:<tag>` */
export function checkTarget(caller: BuildCaller, target: string): string {
  const colon = target.indexOf(':');
  const user = colon < 0 ? target : target.slice(0, colon);
  if (user !== caller.login) throw invalid('target', 'Invalid target for the build.');
  const tag = colon < 0 ? 'latest' : target.slice(colon + 1);
  if (!tagForm.test(tag)) {
    throw invalid(
      'target',
      `The tag ${quoted(tag)} is none: up to 128 letters, digits, "_", "." and "-", the first one a letter, a digit or "_".`,
    );
  }
  if (isContentTag(tag)) {
    throw invalid(
      'target',
      `The tag ${quoted(tag)} begins with "sluice-", as those that the builder makes; choose another.`,
    );
  }
  if (isKeepingTag(tag))
    throw invalid('target', `The tag ${quoted(tag)} is of those that the builder makes; choose another.`);
  return tag;
}

function checkSource(caller: BuildCaller, text: string, rules: RequestRules): ImageReference {
  const source = parseImage(text);
  if (source === undefined)
    throw invalid('source', `The source ${quoted(text)} is not the name of an image.`);
  if (rules.ownRegistries.includes(source.registry)) {
    const [owner, ...deeper] = source.repository;
    // Other users' images lie in the same registry; what is under "library" is nobody's.
    if (owner === 'library' || (owner === caller.login && deeper.length === 0)) return source;
    const listed = rules.bases.filter((one) => one.registry === source.registry && one.repository.length > 0);
    if (listed.some((prefix) => imageIsUnder(source, prefix))) return source;
    throw new AppError('forbidden', `The base image ${quoted(text)} belongs to another user.`, {
      field: 'source',
    });
  }
  if (rules.bases.some((prefix) => imageIsUnder(source, prefix))) return source;
  if (rules.bases.length === 0) {
    if (caller.admin || !rules.isInner(source.registry)) return source;
    // Asking for it would tell who answers at which port of our network.
    throw new AppError(
      'forbidden',
      `The registry ${quoted(source.registry)} is of an inner network; the administrator may name it in SLUICE_BUILD_BASES.`,
      { field: 'source' },
    );
  }
  throw new AppError(
    'forbidden',
    `The base image ${quoted(text)} is from none of the repositories that are allowed (SLUICE_BUILD_BASES).`,
    { field: 'source' },
  );
}

function checkPlatforms(platforms: readonly string[]): readonly string[] {
  if (platforms.length > maxPlatforms)
    throw invalid('platforms', `At most ${maxPlatforms} platforms can be built for at once.`);
  for (const one of platforms) {
    if (!platformForm.test(one))
      throw invalid('platforms', `${quoted(one)} is no platform; linux/amd64 is one.`);
  }
  return [...new Set(platforms)].toSorted();
}

function invalid(field: string, message: string): AppError {
  return new AppError('invalid_input', message, { field });
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}

/** `registry/repository@digest`, in the one spelling that BuildKit and registries read alike. */
export function pinned(source: ImageReference, digest: string): string {
  return `${nameOf(source)}@${digest}`;
}

/** Without tag and digest. */
export function nameOf({ registry, repository }: ImageReference): string {
  return [registry, ...repository].join('/');
}

/** As it was asked for, in full. */
export function referenceOf(source: ImageReference): string {
  if (source.digest !== undefined) return pinned(source, source.digest);
  return `${nameOf(source)}:${source.tag ?? 'latest'}`;
}
