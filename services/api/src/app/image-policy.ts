import { imageIsUnder, parseImage, parseImagePrefix } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import type { Settings } from '@sluice/shared/stores';
import { Type } from 'typebox';
import { decodeGoJson } from '../domain/go-json-decode.ts';
import { invalidService } from '../domain/service-wire.ts';

/** OSCAR §1.9. */
export const ConfigInput = Type.Object({
  allowed_image_repositories: Type.Optional(Type.Array(Type.String())),
});

const setting = 'allowed_image_repositories';
const maxEntries = 500;
/** Entries that a refusal names. */
const shownEntries = 10;

/**
 * Replaces the list of repositories that images may come from. Services that are there already are left alone until they are
 * changed.
 * @returns the list as it was sent; undefined where the body has none, which allows every image as an empty one does
 * @throws AppError `invalid_input` with OSCAR's words, naming the entry
 */
export async function setAllowedImages(
  body: Uint8Array,
  settings: Settings,
): Promise<readonly string[] | undefined> {
  const list = decodeConfig(body);
  await settings.set(setting, JSON.stringify(list ?? []));
  return list;
}

function decodeConfig(body: Uint8Array): readonly string[] | undefined {
  let list: readonly string[] | undefined;
  try {
    list = decodeGoJson(ConfigInput, body, { root: 'Config' }).allowed_image_repositories;
  } catch (error) {
    throw error instanceof AppError ? invalidConfig(error.message, error.field) : error;
  }
  if (list === undefined) return undefined;
  if (list.length > maxEntries)
    throw invalidConfig(`${setting}: has more than ${maxEntries} entries`, setting);
  const wrong = list.findIndex((entry) => parseImagePrefix(entry) === undefined);
  if (wrong < 0) return list;
  const field = `${setting}[${wrong}]`;
  const shown = JSON.stringify(list[wrong]?.slice(0, 100));
  throw invalidConfig(
    `${field}: ${shown} is neither a registry nor a repository without tag (write for example "ghcr.io/grycap")`,
    field,
  );
}

function invalidConfig(message: string, field?: string): AppError {
  return new AppError(
    'invalid_input',
    `The configuration specification is not valid: ${message}`,
    field === undefined ? {} : { field },
  );
}

/** The list as it was set; empty where every image is allowed. */
export async function allowedImages(settings: Settings): Promise<readonly string[]> {
  const text = await settings.get(setting);
  if (text === undefined) return [];
  const list: unknown = JSON.parse(text);
  // Not `[]`: what cannot be read must not allow everything.
  if (!Array.isArray(list) || !list.every((entry) => typeof entry === 'string'))
    throw new Error(`the stored ${setting} is no list of texts`);
  return list;
}

/**
 * Refuses an image that is in none of the allowed repositories.
 * @throws AppError `invalid_input` for `image`
 */
export async function refuseImage(image: string, settings: Settings): Promise<void> {
  const list = await allowedImages(settings);
  if (list.length === 0) return;
  const reference = parseImage(image);
  const allowed = list.some((entry) => {
    const prefix = parseImagePrefix(entry);
    return reference !== undefined && prefix !== undefined && imageIsUnder(reference, prefix);
  });
  if (allowed) return;
  const more = list.length > shownEntries ? ', …' : '';
  throw invalidService(
    `image: image ${image} is not allowed for pull on the cluster. Allowed is what is under ${list.slice(0, shownEntries).join(', ')}${more} (allowed_image_repositories of /system/config)`,
    'image',
  );
}
