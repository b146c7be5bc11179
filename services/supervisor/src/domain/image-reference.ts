import { parseImage } from '@sluice/shared/contracts';

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

/** Takes an image's name apart (`docker://` in front is dropped: OSCAR §4.3); undefined for what no engine would take. */
export function parseImageReference(image: string): ImageReference | undefined {
  const trimmed = image.trim();
  // The one parser, so that what is pulled is what was allowed.
  const parsed = parseImage(trimmed);
  if (parsed === undefined) return undefined;
  const { tag, digest } = parsed;
  const [named = ''] = trimmed.replace(/^docker:\/\//, '').split('@', 1);
  const name = tag === undefined ? named : named.slice(0, -(tag.length + 1));
  const version = digest ?? tag ?? 'latest';
  return {
    text: digest === undefined ? `${name}:${version}` : `${name}@${version}`,
    name,
    version,
    pinned: digest !== undefined,
    registry: parsed.registry === 'docker.io' ? dockerHub : parsed.registry,
  };
}

/** Whether an engine would take it. */
export function isImageName(image: string): boolean {
  return parseImageReference(image) !== undefined;
}
