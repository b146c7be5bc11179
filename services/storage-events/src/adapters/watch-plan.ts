import type { BucketPath } from '@sluice/shared/stores';

/** What a folder is to the watcher: it holds inputs, it leads to a folder that does (and may not exist yet), or neither. */
export type FolderKind = 'input' | 'way' | 'none';

/** Which folders below the buckets' root matter. Paths are relative to that root: `bucket/folder/sub`, empty for the root. */
export interface WatchPlan {
  kindOf(folder: string): FolderKind;
  /** Names that must be looked at in a folder, because they lead to an input folder. */
  ways(folder: string): readonly string[];
  /** Whether an event about this file or folder is news. */
  concerns(path: string): boolean;
}

interface PlanNode {
  readonly children: Map<string, PlanNode>;
  isInput: boolean;
}

/** The rule about names that begin with a dot is that of `isInputKey`. */
export function createWatchPlan(paths: readonly BucketPath[]): WatchPlan {
  const root: PlanNode = { children: new Map(), isInput: false };
  for (const { bucket, prefix } of paths) {
    let node = root;
    for (const name of [bucket, ...prefix.split('/').slice(0, -1)]) {
      const child: PlanNode = node.children.get(name) ?? { children: new Map(), isInput: false };
      node.children.set(name, child);
      node = child;
    }
    node.isInput = true;
  }
  const find = (folder: string): { node: PlanNode | undefined; covered: boolean } => {
    let node: PlanNode | undefined = root;
    let covered = false;
    if (folder === '') return { node, covered };
    for (const name of folder.split('/')) {
      node = node?.children.get(name);
      covered = (covered && !name.startsWith('.')) || node?.isInput === true;
      if (node === undefined && !covered) break;
    }
    return { node, covered };
  };
  return {
    kindOf: (folder) => {
      const { node, covered } = find(folder);
      if (covered) return 'input';
      return node === undefined ? 'none' : 'way';
    },
    ways: (folder) => [...(find(folder).node?.children.keys() ?? [])],
    concerns: (path) => {
      const slash = path.lastIndexOf('/');
      const name = path.slice(slash + 1);
      const { node, covered } = find(slash < 0 ? '' : path.slice(0, slash));
      return (covered && !name.startsWith('.')) || node?.children.has(name) === true;
    },
  };
}
