import { isAlias, isMap, isScalar, LineCounter, parseDocument, visit } from 'yaml';
import type { Alias, Document, Node, Pair, YAMLMap } from 'yaml';
import { childPath, FdlError, type FdlProblem, type Position } from './problem.ts';

/** Values that a file may unfold to when its aliases are followed: an alias bomb ends here. */
const maxValues = 50_000;

/** A key with its value, merge keys (`<<`) already resolved. */
export interface Entry {
  readonly key: string;
  readonly keyNode: Node;
  readonly value: Node | undefined;
}

/** One YAML document with what its reading has found so far. */
export interface FdlDocument {
  readonly file: string;
  readonly root: Node | undefined;
  readonly problems: FdlProblem[];
  readonly warnings: FdlProblem[];
  positionOf(node: Node | undefined): Position;
  problem(node: Node | undefined, path: string, message: string): void;
  warning(node: Node | undefined, path: string, message: string): void;
  /** Follows aliases. @throws FdlError once the file unfolds to too many values */
  resolve(node: Node | undefined): Node | undefined;
  /** Entries of a map; keys that are no words are reported and left out. */
  entries(map: YAMLMap, path: string): Entry[];
}

/** @throws FdlError with every YAML error of the text */
export function readDocument(file: string, text: string): FdlDocument {
  const lines = new LineCounter();
  // Duplicate keys are found below: the library compares every key with every other, which a long file makes quadratic.
  const document = parseDocument(text, {
    prettyErrors: false,
    uniqueKeys: false,
    merge: true,
    lineCounter: lines,
    logLevel: 'error',
  });
  const positionAt = (offset: number): Position => {
    const { line, col } = lines.linePos(Math.min(offset, text.length));
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  if (document.errors.length > 0) {
    throw new FdlError(
      document.errors.map((error) => ({
        file,
        ...positionAt(error.pos[0]),
        path: '',
        message: yamlMessage(error.code, error.message),
      })),
    );
  }
  return createDocument(file, document, positionAt);
}

function yamlMessage(code: string, message: string): string {
  switch (code) {
    case 'MULTIPLE_DOCS':
      return 'a second YAML document begins here; put each into a file of its own';
    case 'TAB_AS_INDENT':
      return 'a tab is used as indentation; YAML takes spaces only';
    case 'RESOURCE_EXHAUSTION':
      return 'is nested too deeply';
    default:
      return `not valid YAML: ${message}`;
  }
}

function createDocument(
  file: string,
  document: Document.Parsed,
  positionAt: (offset: number) => Position,
): FdlDocument {
  const problems: FdlProblem[] = [];
  const warnings: FdlProblem[] = [];
  const { aliases, dangling } = followAliases(document);
  if (dangling.length > 0) {
    throw new FdlError(
      dangling.map((alias) => {
        const message = `nothing before this is anchored as "&${alias.source}"`;
        return { file, ...positionAt(alias.range?.[0] ?? 0), path: '', message };
      }),
    );
  }
  let values = 0;
  const positionOf = (node: Node | undefined): Position => positionAt(node?.range?.[0] ?? 0);
  const at = (node: Node | undefined, path: string, message: string): FdlProblem => ({
    file,
    ...positionOf(node),
    path,
    message,
  });
  const problem = (node: Node | undefined, path: string, message: string): void => {
    problems.push(at(node, path, message));
  };
  const resolve = (node: Node | undefined): Node | undefined => {
    values += 1;
    if (values > maxValues) {
      throw new FdlError([
        at(node, '', `is too large: more than ${maxValues} values once its aliases are followed`),
      ]);
    }
    if (!isAlias(node)) return node;
    return aliases.get(node);
  };
  for (const warning of document.warnings) {
    warnings.push({ file, ...positionAt(warning.pos[0]), path: '', message: warning.message });
  }
  visit(document, {
    Map: (_, map) => {
      for (const key of duplicateKeys(map))
        problem(key, '', `the key "${keyText(key) ?? ''}" is there twice`);
    },
  });
  return {
    file,
    root: document.contents ?? undefined,
    problems,
    warnings,
    positionOf,
    problem,
    warning: (node, path, message) => {
      warnings.push(at(node, path, message));
    },
    resolve,
    entries: (map, path) => entriesOf({ resolve, problem }, map, path),
  };
}

/** What each alias stands for, in one pass: the library looks an anchor up by walking the document every time. */
function followAliases(document: Document.Parsed): { aliases: Map<Alias, Node>; dangling: Alias[] } {
  const anchors = new Map<string, Node>();
  const aliases = new Map<Alias, Node>();
  const dangling: Alias[] = [];
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node)) {
        const target = anchors.get(node.source);
        if (target === undefined) dangling.push(node);
        else aliases.set(node, target);
      } else if (typeof node.anchor === 'string') {
        anchors.set(node.anchor, node);
      }
    },
  });
  return { aliases, dangling };
}

function keyText(key: unknown): string | undefined {
  if (!isScalar(key)) return undefined;
  if (typeof key.value === 'string') return key.value;
  return key.source ?? String(key.value);
}

const mergeKey = '<<';

function duplicateKeys(map: YAMLMap): Node[] {
  const seen = new Set<string>();
  const duplicates: Node[] = [];
  for (const { key } of map.items) {
    const text = keyText(key);
    if (text === undefined || text === mergeKey || !isScalar(key)) continue;
    if (seen.has(text)) duplicates.push(key);
    seen.add(text);
  }
  return duplicates;
}

type Reporter = Pick<FdlDocument, 'resolve' | 'problem'>;

/** The map's own entries first; of merged maps only keys that are not there yet, as YAML 1.1 wants. */
function entriesOf(reporter: Reporter, map: YAMLMap, path: string): Entry[] {
  const own: Entry[] = [];
  const merged: Entry[] = [];
  for (const pair of map.items) {
    const keyNode = pair.key as Node;
    const key = keyText(isAlias(keyNode) ? reporter.resolve(keyNode) : keyNode);
    if (key === undefined) {
      reporter.problem(keyNode, path, 'a key must be a word');
    } else if (key === mergeKey) {
      merged.push(...mergedEntries(reporter, pair as Pair<Node, Node | null>, path));
    } else {
      own.push({ key, keyNode, value: (pair.value as Node | null) ?? undefined });
    }
  }
  const taken = new Set(own.map((entry) => entry.key));
  for (const entry of merged) {
    if (taken.has(entry.key)) continue;
    taken.add(entry.key);
    own.push(entry);
  }
  return own;
}

function mergedEntries(reporter: Reporter, pair: Pair<Node, Node | null>, path: string): Entry[] {
  const source = reporter.resolve(pair.value ?? undefined);
  const maps = isMap(source) ? [source] : sequenceItems(source).map((item) => reporter.resolve(item));
  if (maps.length === 0)
    reporter.problem(pair.key, childPath(path, mergeKey), 'must be a map, or a list of maps');
  return maps.flatMap((map) => {
    if (!isMap(map)) {
      reporter.problem(pair.key, childPath(path, mergeKey), 'must be a map, or a list of maps');
      return [];
    }
    return map.items.flatMap((item) => {
      const key = keyText(item.key);
      // A merge inside a merged map is left out: following it could go round in circles.
      if (key === undefined || key === mergeKey) return [];
      reporter.resolve(item.key as Node);
      return [{ key, keyNode: item.key as Node, value: (item.value as Node | null) ?? undefined }];
    });
  });
}

function sequenceItems(node: Node | undefined): Node[] {
  if (node === undefined || !('items' in node) || isMap(node)) return [];
  return node.items.filter(
    (item): item is Node => typeof item === 'object' && item !== null && !('key' in item),
  );
}
