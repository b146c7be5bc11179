/** What an image's name says, taken apart. */
export interface ImageReference {
  /** As it is asked for: without `docker://`, with a tag or a digest. */
  readonly text: string;
  /** Registry and repository, as the user wrote them. */
  readonly name: string;
  /** The tag, `latest` where none was given; the digest where there is one. */
  readonly version: string;
  /** A digest names bytes: what it stands for never changes. */
  readonly pinned: boolean;
  /** The registry's host, as a Docker config file names it. */
  readonly registry: string;
}

/** Under this name the Docker config file keeps credentials of the registry that is used where none is named. */
const dockerHub = 'https://index.docker.io/v1/';

const registryForm = /^[a-zA-Z0-9.-]+(?::[0-9]{1,5})?$/;
const partForm = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$/;
const tagForm = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/;
const digestForm = /^[a-z0-9]+:[0-9a-f]{32,128}$/;

/** Takes an image's name apart (`docker://` in front is dropped: OSCAR §4.3); undefined for what no engine would take. */
export function parseImageReference(image: string): ImageReference | undefined {
  const bare = image.trim().replace(/^docker:\/\//, '');
  const [beforeDigest = '', digest, ...more] = bare.split('@');
  if (more.length > 0 || (digest !== undefined && !digestForm.test(digest))) return undefined;
  // A colon before the last slash belongs to the registry's port.
  const colon = beforeDigest.indexOf(':', beforeDigest.lastIndexOf('/') + 1);
  const name = colon < 0 ? beforeDigest : beforeDigest.slice(0, colon);
  const tag = colon < 0 ? undefined : beforeDigest.slice(colon + 1);
  if (tag !== undefined && !tagForm.test(tag)) return undefined;
  const registry = registryOf(name);
  const path = registry === undefined ? name : name.slice(registry.length + 1);
  if (registry !== undefined && !registryForm.test(registry)) return undefined;
  if (!path.split('/').every((part) => partForm.test(part))) return undefined;
  const version = digest ?? tag ?? 'latest';
  return {
    text: digest === undefined ? `${name}:${version}` : `${name}@${version}`,
    name,
    version,
    pinned: digest !== undefined,
    registry: registry === undefined || registry === 'docker.io' ? dockerHub : registry,
  };
}

/** Whether an engine would take it. */
export function isImageName(image: string): boolean {
  return parseImageReference(image) !== undefined;
}

/** The first part of a name is a registry where it looks like a host: that is how engines tell. */
function registryOf(name: string): string | undefined {
  const slash = name.indexOf('/');
  if (slash < 0) return undefined;
  const first = name.slice(0, slash);
  return /[.:]/.test(first) || first === 'localhost' ? first : undefined;
}
