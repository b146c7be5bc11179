import { parseImage } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { installScript, mounts, scriptName } from './install-script.ts';
import type { Recipe } from './recipes/index.ts';

export interface ImageMaking {
  /**
   * Whose image it is. The step is another one for each user: what it installs comes through a cache that the user's earlier packages have written to, and a layer that
   * one user made must never be taken for another's.
   */
  readonly user: string;
  /** The base image, pinned: `registry:5000/library/python@sha256:…`. */
  readonly base: string;
  /** The base image's `USER`; empty where it has none. */
  readonly baseUser: string;
  readonly recipe: Recipe;
  /** The requirements file; without one the image is the base under another name. */
  readonly file?: string | undefined;
  /** An image that brings the tool of the recipe (`Recipe.usesToolImage`): one with Maven in `/usr/share/maven`, as Maven's own have. */
  readonly toolImage?: string | undefined;
}

/** What BuildKit gets: a Dockerfile, and the files beside it. */
export interface BuildContext {
  readonly dockerfile: string;
  readonly files: readonly { readonly name: string; readonly text: string }[];
}

const sha256 = /^sha256:[0-9a-f]{64}$/;
/** A name or number, with a group or without: what `USER` takes, and nothing that a Dockerfile would read as more. */
const userForm = /^\w[\w.-]{0,63}(?::\w[\w.-]{0,63})?$/;
const rootNames: ReadonlySet<string> = new Set(['root', '0']);

/**
 * The Dockerfile of an image: `FROM` alone, or one step more that installs what a file requires. Entry point, command, environment, folder
 * and labels are the base's, and so is the user: `USER` is only named where the base's is not root, and is put back as it was.
 *
 * There is no `# syntax` line: a cluster without a way to Docker Hub could not fetch that frontend.
 * @throws AppError `invalid_input` for a base or a user that is not fit for a Dockerfile, `unprocessable` for a file that the recipe refuses
 */
export function dockerfileFor(making: ImageMaking): BuildContext {
  const from = `FROM ${pinned(making.base)}`;
  const user = checkedUser(making.baseUser);
  const { recipe, file } = making;
  if (file === undefined) return { dockerfile: `${from}\n`, files: [] };
  const fault = recipe.check(file);
  const { install } = recipe;
  if (fault !== undefined || install === undefined)
    throw new AppError('unprocessable', fault ?? `A ${recipe.kind} image takes no requirements file.`, {
      field: 'file',
    });
  const isRoot = user === '' || rootNames.has(user.split(':')[0] ?? '');
  const step = [...mountsOf(making), JSON.stringify(stepOf(isRoot ? '' : user))].join(' ');
  const lines = isRoot ? [from, `RUN ${step}`] : [from, 'USER 0', `RUN ${step}`, `USER ${user}`];
  return {
    dockerfile: `${lines.join('\n')}\n`,
    files: [
      { name: recipe.fileName, text: file },
      {
        name: scriptName,
        text: `${installScript({ ...recipe, install })}# for ${checkedLogin(making.user)}\n`,
      },
    ],
  };
}

/** In exec form: a base may have a `SHELL` of its own. */
function stepOf(owner: string): readonly string[] {
  return ['/bin/sh', `${mounts.context}/${scriptName}`, ...(owner === '' ? [] : [owner])];
}

function mountsOf({ recipe, toolImage }: ImageMaking): readonly string[] {
  return [
    `--mount=type=bind,target=${mounts.context}`,
    `--mount=type=cache,id=sluice-${recipe.kind},target=${mounts.cache},sharing=${recipe.cacheSharing}`,
    ...(recipe.usesToolImage && toolImage !== undefined
      ? [`--mount=type=bind,from=${named(toolImage, 'toolImage')},target=${mounts.tools}`]
      : []),
  ];
}

/** The base in its one spelling. A tag beside the digest is dropped: only the digest counts. */
function pinned(base: string): string {
  const image = parseImage(base);
  if (image?.digest === undefined || !sha256.test(image.digest))
    throw new AppError(
      'invalid_input',
      'The base image has to be pinned: <registry>/<name>@sha256:<digest>.',
      {
        field: 'source',
      },
    );
  return `${[image.registry, ...image.repository].join('/')}@${image.digest}`;
}

function named(text: string, field: string): string {
  const image = parseImage(text);
  if (image === undefined)
    throw new AppError('invalid_input', 'The image with the build tools is no image reference.', { field });
  const name = [image.registry, ...image.repository].join('/');
  return image.digest === undefined ? `${name}:${image.tag ?? 'latest'}` : `${name}@${image.digest}`;
}

function checkedLogin(user: string): string {
  if (/^[a-z0-9]{1,61}$/.test(user)) return user;
  throw new AppError('invalid_input', 'An image belongs to a user whose name is a to z and 0 to 9.', {
    field: 'user',
  });
}

function checkedUser(user: string): string {
  if (user === '' || userForm.test(user)) return user;
  throw new AppError(
    'invalid_input',
    'The USER of the base image is neither "name" nor "name:group": set another one in the base image.',
    { field: 'source' },
  );
}
