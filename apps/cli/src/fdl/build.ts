import path from 'node:path';
import type { Node } from 'yaml';
import { maxRequirementsBytes, requirementsFault } from '../builds/requirements.ts';
import type { JsonObject } from './decode.ts';
import type { FdlDocument } from './document.ts';
import type { ReadScript } from './parse.ts';
import { childPath } from './problem.ts';

/** What the image of a service is built of. */
export interface FdlBuild {
  readonly source: string;
  readonly kind: string;
  /** The requirements file, as the FDL file names it. */
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly platforms: readonly string[];
  /** Every time it is asked whether the image that it begins with has changed. */
  readonly followsBase: boolean;
}

export interface BuildParts {
  /** The service as the file states it. */
  readonly stated: JsonObject;
  readonly at: string;
  readonly node: Node;
  /** Of the service's keys, in lower case. */
  readonly own: ReadonlyMap<string, Node | undefined>;
  /** Of the keys of `build`. */
  readonly parts: ReadonlyMap<string, Node | undefined>;
}

/** A name that can begin the tag of an image. */
const tagForm = /^\w[\w.-]*$/;

/** Reads `build`. Reports where both or neither of it and `image` are there. */
export function readBuild(
  document: FdlDocument,
  { stated, at, node, own, parts }: BuildParts,
  readFile: ReadScript,
): FdlBuild | undefined {
  const report = (where: Node | undefined, key: string, message: string): undefined => {
    document.problem(where ?? node, key.split('.').reduce(childPath, at), message);
  };
  const build = stated['build'] as JsonObject | undefined;
  const hasImage = typeof stated['image'] === 'string' && stated['image'] !== '';
  if (build === undefined) {
    const isReported =
      reported(document, childPath(at, 'image')) || reported(document, childPath(at, 'build'));
    if (!hasImage && !isReported) report(node, 'image', 'is missing; "build" in its place makes one');
    return undefined;
  }
  if (hasImage)
    report(own.get('build'), 'build', 'stands in the place of "image"; a service has one of the two');
  if (typeof stated['name'] === 'string' && stated['name'] !== '' && !tagForm.test(stated['name']))
    report(
      own.get('name'),
      'name',
      'cannot begin an image’s tag, as the name of a service with "build" has to',
    );
  const { source, kind, file, rebuild } = build;
  if (rebuild !== undefined && rebuild !== 'base')
    report(parts.get('rebuild'), 'build.rebuild', `must be "base", but is ${JSON.stringify(rebuild)}`);
  // What is absent has been reported.
  if (typeof source !== 'string' || typeof kind !== 'string' || typeof file !== 'string' || file === '')
    return undefined;
  const read = readRequirements(document, file, readFile);
  if ('problem' in read) return report(parts.get('file'), 'build.file', read.problem);
  const platforms = (build['platforms'] ?? []) as readonly string[];
  return { source, kind, file, bytes: read.bytes.slice(), platforms, followsBase: rebuild === 'base' };
}

function reported(document: FdlDocument, path: string): boolean {
  const wanted = path.toLowerCase();
  return document.problems.some((problem) => {
    const at = problem.path.toLowerCase();
    return at === wanted || at.startsWith(`${wanted}.`) || at.startsWith(`${wanted}[`);
  });
}

function readRequirements(
  document: FdlDocument,
  file: string,
  readFile: ReadScript,
): { readonly bytes: Uint8Array } | { readonly problem: string } {
  if (/[\n\0]/.test(file)) return { problem: 'must be the path of a file, not what is in it' };
  const read = readFile(path.resolve(path.dirname(document.file), file), maxRequirementsBytes);
  const fault = 'problem' in read ? read.problem : requirementsFault(read.bytes);
  return 'problem' in read || fault !== undefined
    ? { problem: `the requirements file ${file} ${fault ?? ''}` }
    : read;
}
