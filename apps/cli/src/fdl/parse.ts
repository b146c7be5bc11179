import path from 'node:path';
import { isMap, isScalar, isSeq } from 'yaml';
import type { Node } from 'yaml';
import { readBuild, type FdlBuild } from './build.ts';
import { decode, describe, itemsOf, knownEntries, type JsonObject } from './decode.ts';
import { readDocument, type Entry, type FdlDocument } from './document.ts';
import { childPath, FdlError, type FdlProblem } from './problem.ts';
import * as schema from './schema.ts';

/** An FDL file holds names and paths; a megabyte is a mistake. */
export const maxFdlBytes = 1024 * 1024;
export const maxScriptBytes = 1024 * 1024;
/** OSCAR §1.2: 1 to 39 characters. */
const maxNameLength = 39;

/** A service as it goes to the server: only what the file states, its script and its cluster. Where it has a `build`, its image is not there yet. */
export interface ServiceDocument extends JsonObject {
  readonly name: string;
  readonly cluster_id: string;
  readonly script: string;
}

export interface FdlService {
  readonly document: ServiceDocument;
  /** What its image is built of, in place of one in `document`. */
  readonly build?: FdlBuild;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
}

export interface Fdl {
  readonly services: readonly FdlService[];
  readonly warnings: readonly FdlProblem[];
}

/** The bytes of a script or a requirements file, at most `limit` and one more, or why they can't be had. */
export type ReadScript = (
  file: string,
  limit: number,
) => { readonly bytes: Uint8Array } | { readonly problem: string };

/**
 * Reads an FDL file (OSCAR §2.5): services with the script's text in place of its path, the key of the list entry as
 * `cluster_id`, and the file's `storage_providers` and `clusters` in each.
 * @param file path of the file, for messages and as the folder that scripts are relative to
 * @throws FdlError with all faults
 */
export function parseFdl(file: string, bytes: Uint8Array, readScript: ReadScript): Fdl {
  const document = readDocument(file, textOf(file, bytes));
  const top = topLevel(document);
  const shared = sharedOf(document, top);
  const services = serviceEntries(document, top).flatMap(([cluster, node, at]) => {
    const service = readService(document, node, at, cluster, shared);
    if (service === undefined) return [];
    const build = buildOf(document, service, at, readScript);
    const script = scriptOf(document, service, at, readScript);
    if (script === undefined) return [];
    const { build: _, ...stated } = service.document;
    const { node: map } = service;
    return [
      {
        document: { ...stated, cluster_id: cluster, script } as ServiceDocument,
        ...(build === undefined ? {} : { build }),
        file,
        ...document.positionOf(map),
        path: at,
      },
    ];
  });
  if (document.problems.length > 0) throw new FdlError(sorted(document.problems));
  return { services, warnings: sorted(document.warnings) };
}

function sorted(problems: readonly FdlProblem[]): FdlProblem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

function textOf(file: string, bytes: Uint8Array): string {
  const whole = (message: string): FdlError =>
    new FdlError([{ file, line: 1, column: 1, path: '', message }]);
  if (bytes.length > maxFdlBytes) throw whole(`is too large for an FDL file (over ${maxFdlBytes} bytes)`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const before = new TextDecoder().decode(bytes).split('\uFFFD', 1)[0] ?? '';
    const lines = before.split('\n');
    const column = (lines.at(-1)?.length ?? 0) + 1;
    throw new FdlError([{ file, line: lines.length, column, path: '', message: 'is not UTF-8 text' }]);
  }
}

type TopLevel = ReadonlyMap<string, Entry>;

function topLevel(document: FdlDocument): TopLevel {
  const root = document.resolve(document.root);
  if (root === undefined || (isScalar(root) && root.value === null)) {
    document.problem(root, '', 'is empty; an FDL file begins with "functions:"');
    return new Map();
  }
  if (!isMap(root)) {
    document.problem(
      root,
      '',
      `an FDL file is a map that begins with "functions:", but this is ${describe(root)}`,
    );
    return new Map();
  }
  const fields = { functions: true, storage_providers: true, clusters: true };
  const found = new Map(knownEntries(document, root, fields, ''));
  if (!found.has('functions')) {
    const isService = document.entries(root, '').some(({ key }) => key === 'script' || key === 'image');
    const hint = isService ? '; a service belongs under "functions: oscar: - <cluster>:"' : '';
    document.problem(root, 'functions', `is missing${hint}`);
  }
  return found;
}

function sharedOf(document: FdlDocument, top: TopLevel): JsonObject {
  const providers = decode(
    document,
    top.get('storage_providers')?.value,
    { fields: schema.storageProviders },
    'storage_providers',
  );
  const clusters = decode(document, top.get('clusters')?.value, { mapOf: schema.cluster }, 'clusters');
  return {
    ...(providers === undefined ? {} : { storage_providers: providers }),
    ...(clusters === undefined ? {} : { clusters }),
  };
}

/** Cluster, node and path of every entry of `functions.oscar`. */
function serviceEntries(document: FdlDocument, top: TopLevel): [string, Node, string][] {
  const entry = top.get('functions');
  if (entry === undefined) return [];
  const functions = document.resolve(entry.value);
  if (!isMap(functions)) {
    document.problem(
      functions ?? entry.keyNode,
      'functions',
      `must be a map with the key "oscar", but is ${describe(functions)}`,
    );
    return [];
  }
  const oscar = new Map(knownEntries(document, functions, { oscar: true }, 'functions')).get('oscar');
  if (oscar === undefined) {
    document.problem(functions, 'functions.oscar', 'is missing');
    return [];
  }
  const list = document.resolve(oscar.value);
  const at = childPath('functions', oscar.key);
  if (!isSeq(list)) {
    document.problem(list ?? oscar.keyNode, at, `must be a list ("- <cluster>:"), but is ${describe(list)}`);
    return [];
  }
  if (list.items.length === 0) document.problem(list, at, 'names no service');
  return itemsOf(list).flatMap((item, index) => clusterEntries(document, item ?? list, childPath(at, index)));
}

function clusterEntries(document: FdlDocument, item: Node, at: string): [string, Node, string][] {
  const map = document.resolve(item);
  if (!isMap(map)) {
    document.problem(map, at, `must be a map of a cluster to its service, but is ${describe(map)}`);
    return [];
  }
  const entries = document
    .entries(map, at)
    .map((entry) => ({ ...entry, node: document.resolve(entry.value) }));
  const empty = entries.find(({ node }) => node === undefined || (isScalar(node) && node.value === null));
  if (empty !== undefined && entries.length > 1) {
    document.problem(
      empty.keyNode,
      childPath(at, empty.key),
      'is empty; its service has to be indented further than the cluster',
    );
    return [];
  }
  if (entries.length === 0) document.problem(map, at, 'names no cluster');
  return entries.flatMap(({ key, keyNode, node }) => {
    const path = childPath(at, key);
    if (isMap(node)) return [[key, node, path] as [string, Node, string]];
    document.problem(node ?? keyNode, path, `must be a map with the service, but is ${describe(node)}`);
    return [];
  });
}

interface ReadService {
  readonly document: JsonObject;
  readonly node: Node;
  /** Of its keys, in lower case. */
  readonly own: ReadonlyMap<string, Node | undefined>;
}

function readService(
  document: FdlDocument,
  node: Node,
  at: string,
  cluster: string,
  shared: JsonObject,
): ReadService | undefined {
  if (cluster.trim() === '') document.problem(node, at, 'the name of the cluster is empty');
  const kind = { fields: schema.service, required: schema.requiredKeys };
  const stated = decode(document, node, kind, at) as JsonObject | undefined;
  if (stated === undefined) return undefined;
  const own = isMap(node) ? new Map(quietEntries(document, node)) : new Map<string, Node | undefined>();
  const nameNode = own.get('name') ?? node;
  if (typeof stated['name'] === 'string' && Array.from(stated['name']).length > maxNameLength) {
    document.problem(nameNode, childPath(at, 'name'), `is longer than ${maxNameLength} characters`);
  }
  return { document: { ...stated, ...shared }, node, own };
}

function buildOf(
  document: FdlDocument,
  { document: stated, node, own }: ReadService,
  at: string,
  readFile: ReadScript,
): FdlBuild | undefined {
  const buildNode = own.get('build');
  const parts = new Map(buildNode === undefined ? [] : quietEntries(document, buildNode));
  return readBuild(document, { stated, at, node, own, parts }, readFile);
}

/** Keys in lower case with their nodes; the decoding has reported what is wrong with them. */
function quietEntries(document: FdlDocument, map: Node): [string, Node | undefined][] {
  if (!isMap(map)) return [];
  return map.items.flatMap((pair) =>
    isScalar(pair.key)
      ? [[String(pair.key.value).toLowerCase(), document.resolve((pair.value as Node | null) ?? undefined)]]
      : [],
  );
}

function scriptOf(
  document: FdlDocument,
  service: ReadService,
  at: string,
  readScript: ReadScript,
): string | undefined {
  const given = service.document['script'];
  if (typeof given !== 'string' || given === '') return undefined;
  const report = (message: string): undefined => {
    document.problem(service.own.get('script') ?? service.node, childPath(at, 'script'), message);
  };
  if (given.includes('\n')) return report('must be the path of a file, not the script itself');
  if (given.includes('\0')) return report('must be the path of a file');
  const file = path.resolve(path.dirname(document.file), given);
  const read = readScript(file, maxScriptBytes);
  if ('problem' in read) return report(`the script ${given} ${read.problem}`);
  if (read.bytes.length > maxScriptBytes) return report(`the script ${given} is over 1 MiB`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(read.bytes);
    if (text.trim() === '') return report(`the script ${given} is empty`);
    // As the server does (OSCAR §1.2 step 4), so that a comparison with it finds no difference.
    return text.replaceAll(/\r\n?/g, '\n');
  } catch {
    return report(`the script ${given} is not UTF-8 text`);
  }
}
