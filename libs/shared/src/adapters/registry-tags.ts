import { createHash } from 'node:crypto';
import { parseImagePrefix, type ImageReference } from '../contracts/index.ts';
import { AppError } from '../errors/index.ts';
import type { RegistryTarget } from './registry-auth.ts';
import { registryFailure } from './registry-errors.ts';
import {
  answerBytes,
  getManifest,
  headManifest,
  manifestTypes,
  nameOf,
  notAnImage,
  parseReference,
  targetOf,
  unreadableImage,
  type RegistryAccess,
} from './registry-requests.ts';

const maxPage = 1000;

export async function deleteManifest(client: RegistryAccess, image: ImageReference): Promise<void> {
  if (image.digest === undefined) {
    throw new AppError('invalid_input', 'Only a manifest that is named by its digest can be deleted.');
  }
  const target = targetOf(image, 'delete');
  const path = `/v2/${target.repository}/manifests/${image.digest}`;
  const request = { method: 'DELETE', headers: {}, maxBytes: answerBytes, signal: client.bound() } as const;
  const answer = await client.ask(target, path, request);
  if (answer.status === 404 || (answer.status >= 200 && answer.status < 300)) return;
  throw registryFailure(target, answer, nameOf(image));
}

export async function listTags(
  client: RegistryAccess,
  text: string,
  page: { readonly after?: string; readonly limit?: number },
): Promise<{ readonly tags: readonly string[]; readonly next?: string }> {
  const image = parseImagePrefix(text);
  if (image === undefined || image.repository.length === 0) throw notAnImage(text);
  const target = targetOf(image, 'pull');
  const path = `/v2/${target.repository}/tags/list`;
  const limit = Math.min(Math.max(page.limit ?? maxPage, 1), maxPage);
  const query = page.after ?? `?n=${limit}`;
  const request = { method: 'GET', headers: {}, maxBytes: answerBytes, signal: client.bound() } as const;
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
  // Bounded: the header is a stranger's, and would be read again from each of its brackets.
  const address = /<([^<>]{0,2000})>\s{0,10};[^,<]{0,200}rel="?next"?/i.exec(link ?? '')?.[1];
  const base = `https://${host}${path}`;
  if (address === undefined || !URL.canParse(address, base)) return undefined;
  const url = new URL(address, base);
  return url.pathname === path && url.search !== '' ? url.search : undefined;
}

/** Gives a manifest that is there another tag, with the same bytes and so the same digest. */
export async function putTag(
  client: RegistryAccess,
  repository: string,
  digest: string,
  tag: string,
): Promise<void> {
  const image = parseReference(`${repository}@${digest}`);
  const tagged = parseReference(`${repository}:${tag}`);
  const signal = client.bound();
  const { body, mediaType } = await getManifest(client, image, digest, signal);
  if (!manifestTypes.includes(mediaType)) throw unreadableImage(image, 'a manifest of an odd type');
  await putManifest(client, tagged, body, mediaType, signal);
}

async function putManifest(
  client: RegistryAccess,
  image: ImageReference,
  body: Buffer,
  mediaType: string,
  signal: AbortSignal,
): Promise<void> {
  const target = targetOf(image, 'pull,push');
  const path = `/v2/${target.repository}/manifests/${image.tag ?? ''}`;
  const headers = { 'content-type': mediaType };
  const answer = await client.ask(target, path, { method: 'PUT', headers, body, maxBytes: 65_536, signal });
  if (answer.status >= 200 && answer.status < 300) return;
  if (answer.status === 405) {
    throw new AppError('unavailable', `The registry ${target.registry} is read-only now.`, {
      details: { status: answer.status, image: nameOf(image) },
    });
  }
  throw registryFailure(target, answer, nameOf(image));
}

/**
 * Removes one tag and no other. Registries before distribution 3 only delete manifests, with all their tags: there the tag first gets a copy
 * of its manifest that no other tag can have, and that copy goes. Whoever dies in between leaves an image that works, and a tag that can be removed again.
 */
export async function deleteTag(client: RegistryAccess, repository: string, tag: string): Promise<void> {
  const image = parseReference(`${repository}:${tag}`);
  const status = await askToDelete(client, image, tag);
  if (status < 300 || (await headManifest(client, image)) === undefined) return;
  // Asked before anything is changed: where nothing can be deleted, nothing is.
  const nobody = `sha256:${'0'.repeat(64)}`;
  if ((await askToDelete(client, image, nobody)) === 405) {
    throw new AppError(
      'unsupported',
      `The registry ${image.registry} deletes nothing: switch deletion on (distribution: storage.delete.enabled).`,
      { details: { image: nameOf(image) } },
    );
  }
  const signal = client.bound();
  const { body, mediaType } = await getManifest(client, image, tag, signal);
  const mark = markOf(tag);
  const copy = body.subarray(-mark.length).equals(mark) ? body : Buffer.concat([body, mark]);
  await putManifest(client, image, copy, mediaType, signal);
  const digest = `sha256:${createHash('sha256').update(copy).digest('hex')}`;
  await deleteManifest(client, { ...image, digest });
}

/** @returns a status that says done, gone, or that it is not possible this way */
async function askToDelete(client: RegistryAccess, image: ImageReference, version: string): Promise<number> {
  const target = targetOf(image, 'delete');
  const path = `/v2/${target.repository}/manifests/${version}`;
  const request = { method: 'DELETE', headers: {}, maxBytes: answerBytes, signal: client.bound() } as const;
  const answer = await client.ask(target, path, request);
  const { status } = answer;
  if ((status >= 200 && status < 300) || status === 400 || status === 404 || status === 405) return status;
  throw registryFailure(target, answer, nameOf(image));
}

/** White space at the end of a manifest, of each tag its own. */
function markOf(tag: string): Buffer {
  const bits = [...createHash('sha256').update(tag).digest().subarray(0, 8)];
  const blanks = bits.map((byte) =>
    byte.toString(2).padStart(8, '0').replaceAll('0', ' ').replaceAll('1', '\t'),
  );
  return Buffer.from(`\n${blanks.join('')}\n`);
}
