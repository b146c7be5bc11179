/** A container image as registries name it, `docker.io` and `library` filled in. */
export interface ImageReference {
  /** Host, with its port where one is given. */
  readonly registry: string;
  /** Segments of the path in the registry. */
  readonly repository: readonly string[];
  readonly tag?: string;
  /** `sha256:…` */
  readonly digest?: string;
}

/** Where images may come from: a registry, or a repository in it with all that is under it. */
export type ImagePrefix = Pick<ImageReference, 'registry' | 'repository'>;

const dockerHub = 'docker.io';
/** Other spellings of Docker Hub, which Docker itself takes for the same. */
const dockerHubNames: ReadonlySet<string> = new Set([dockerHub, 'index.docker.io']);

const hostLabel = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const hostForm = new RegExp(
  String.raw`^(?:${hostLabel}(?:\.${hostLabel})*|\[[0-9a-fA-F:]{2,45}\])(?::(\d{1,5}))?$`,
);
const segmentForm = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$/;
const tagForm = /^\w[\w.-]{0,127}$/;
const digestForm = /^[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,256}$/;
/** Docker takes it for the id of an image that is there already, whatever registry it came from. */
const imageId = /^(?:[0-9a-f]{64}|sha256:[0-9a-f]+)$/;
/** Of registry and repository together, as the distribution project has it. */
const maxName = 255;
const maxReference = 1024;

/**
 * Reads an image reference by the rules of the distribution project, as every container runtime does; `docker://` in front is
 * dropped. What decides where an image may come from must go by this and never by the text: `evil.example/ghcr.io/x` has
 * another registry than it looks.
 * @returns undefined for what is no image reference
 */
export function parseImage(text: string): ImageReference | undefined {
  if (text.length > maxReference) return undefined;
  const bare = text.startsWith('docker://') ? text.slice('docker://'.length) : text;
  if (imageId.test(bare)) return undefined;
  const at = bare.indexOf('@');
  const digest = at < 0 ? undefined : bare.slice(at + 1);
  if (digest !== undefined && !digestForm.test(digest)) return undefined;
  const named = at < 0 ? bare : bare.slice(0, at);
  // A colon after the last slash begins a tag; one before it, a port.
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !tagForm.test(tag)) return undefined;
  const name = nameOf(colon < 0 ? named : named.slice(0, colon));
  if (name === undefined || name.repository.length === 0) return undefined;
  return {
    registry: name.registry,
    repository: inLibrary(name),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/**
 * Reads an entry of a list of allowed repositories: `ghcr.io`, `ghcr.io/grycap`, `localhost:5000/team`, `grycap` (of Docker Hub).
 * @returns undefined for what is none, a tag or a digest included
 */
export function parseImagePrefix(text: string): ImagePrefix | undefined {
  const bare = text.startsWith('docker://') ? text.slice('docker://'.length) : text;
  return nameOf(bare.endsWith('/') ? bare.slice(0, -1) : bare);
}

/** Whether an image is in a registry or repository; only whole segments of the path count. */
export function imageIsUnder(image: ImageReference, prefix: ImagePrefix): boolean {
  return (
    image.registry === prefix.registry &&
    prefix.repository.length <= image.repository.length &&
    prefix.repository.every((segment, index) => segment === image.repository[index])
  );
}

/** An entry of a list of allowed repositories in its one spelling. */
export function imagePrefixText({ registry, repository }: ImagePrefix): string {
  return [registry, ...repository].join('/');
}

function nameOf(text: string): ImagePrefix | undefined {
  if (text.length > maxName) return undefined;
  const [first = '', ...rest] = text.split('/');
  const hasHost = /[.:A-Z]/.test(first) || first === 'localhost';
  const registry = hasHost ? hostOf(first) : dockerHub;
  const repository = hasHost ? rest : [first, ...rest];
  if (registry === undefined || !repository.every((segment) => segmentForm.test(segment))) return undefined;
  return { registry, repository };
}

/** Host names have no case; Docker Hub has two names. */
function hostOf(text: string): string | undefined {
  const match = hostForm.exec(text);
  if (match === null || Number(match[1] ?? 1) > 65_535 || Number(match[1] ?? 1) < 1) return undefined;
  const host = text.toLowerCase();
  // Written in small letters it would be an organisation of Docker Hub.
  if (!/[.:]/.test(host) && host !== 'localhost') return undefined;
  return dockerHubNames.has(host) ? dockerHub : host;
}

/** `alpine` is `docker.io/library/alpine`. */
function inLibrary({ registry, repository }: ImagePrefix): readonly string[] {
  return registry === dockerHub && repository.length === 1 ? ['library', ...repository] : repository;
}
