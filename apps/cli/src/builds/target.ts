import { createHash } from 'node:crypto';
import { defaultUsername } from '../api/connection.ts';
import { usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';

const hashDigits = 20;
/** A login, which is also the repository of its images. */
const loginForm = /^[a-z0-9]{1,61}$/;

export interface Ingredients {
  readonly source: string;
  readonly kind: string;
  readonly file: Uint8Array | undefined;
  readonly platforms: readonly string[];
}

/**
 * The tag of an image: the same for the same ingredients, another one when any of them changes.
 * @param name what it begins with
 */
export function contentTag(name: string, { source, kind, file, platforms }: Ingredients): string {
  const hash = createHash('sha256');
  for (const part of [source, kind, platforms.toSorted().join(','), file ?? ''])
    hash.update(part).update('\0');
  return `${name}-${hash.digest('hex').slice(0, hashDigits)}`;
}

/**
 * Whose images the command's login makes.
 * @throws CliError for a user name that can have none
 */
export function imageOwner({ connection }: Context): string {
  const login = (connection.credentials?.username ?? defaultUsername).toLowerCase();
  if (loginForm.test(login)) return login;
  throw usageError(
    `The user name "${login}" can have no images: only letters and digits can.`,
    'sluice build start takes another owner with --target USER:TAG.',
  );
}
