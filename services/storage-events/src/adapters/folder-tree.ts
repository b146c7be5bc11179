import type { BigIntStats, Dir, Dirent, FSWatcher } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { systemCode } from '@sluice/shared/errors';
import type { Logger } from '@sluice/shared/telemetry';
import { createWatchPlan, type FolderKind, type WatchPlan } from './watch-plan.ts';

/** `fs.watch`, cut down to what is used. The listener gets the event's type and a path below the folder. */
export type WatchFolder = (
  path: string,
  options: { recursive: boolean },
  listener: (type: string, name: string | null) => void,
) => Pick<FSWatcher, 'close' | 'on'>;

export interface FolderTreeDeps {
  /** Real path of the folder of buckets. */
  readonly root: string;
  readonly watch: WatchFolder;
  /** One watcher for all of a bucket instead of one for each folder (macOS). */
  readonly recursive: boolean;
  readonly log: Logger;
  /** Something happened to this path. */
  readonly onEvent: (path: string) => void;
  /** Something may have happened that no event told of. */
  readonly onLoss: () => void;
}

/**
 * The folders that matter, as they are known to be, with a watcher on each. Paths are relative to the root.
 * Not for calls at the same time.
 */
export interface FolderTree {
  /** Watches what a plan says; files that are in its folders already are not news. `thorough`: reads folders anew that are known. */
  follow(plan: WatchPlan, thorough: boolean): Promise<void>;
  /** A look at this path showed a folder: a new one is watched, and the files in it are news. */
  arrived(path: string, stats: BigIntStats): Promise<void>;
  /** A look at this path showed no folder. */
  gone(path: string): void;
  /** Reads on in folders that have to be read, at most so many entries. */
  read(entries: number): Promise<void>;
  readonly reading: boolean;
  close(): Promise<void>;
}

interface Node {
  readonly name: string;
  readonly path: string;
  readonly parent: Node | undefined;
  readonly children: Map<string, Node>;
  readonly identity: string;
  kind: FolderKind;
  watcher: Pick<FSWatcher, 'close' | 'on'> | undefined;
  /** Read to its end as an input folder: a sub-folder that turns up later is new. */
  known: boolean;
  /** Its watcher may be dead. */
  suspect: boolean;
  dead: boolean;
}

interface Job {
  readonly node: Node;
  readonly fresh: boolean;
  dir: Dir | undefined;
}

interface Tree extends FolderTreeDeps {
  plan: WatchPlan;
  readonly top: Node;
  readonly jobs: Job[];
  /** The system gives no more watchers; asked again with the next plan. */
  exhausted: boolean;
  warned: boolean;
}

const maxKeyBytes = 1024;

export function createFolderTree(deps: FolderTreeDeps): FolderTree {
  const top = nodeOf(undefined, '', 'top', 'way');
  const tree: Tree = { ...deps, plan: createWatchPlan([]), top, jobs: [], exhausted: false, warned: false };
  return {
    follow: async (plan, thorough) => {
      tree.plan = plan;
      tree.exhausted = false;
      await review(tree, top, thorough);
    },
    arrived: async (path, stats) => arrived(tree, path, stats),
    gone: (path) => {
      const node = find(tree, path);
      if (node !== undefined && node !== top) detach(node);
    },
    read: async (entries) => {
      let left = entries;
      for (let job = tree.jobs[0]; job !== undefined && left > 0; job = tree.jobs[0]) {
        left = await readOn(tree, job, left);
      }
    },
    get reading() {
      return tree.jobs.length > 0;
    },
    close: async () => {
      detach(top);
      for (const job of tree.jobs.splice(0)) await job.dir?.close();
    },
  };
}

function nodeOf(parent: Node | undefined, name: string, identity: string, kind: FolderKind): Node {
  const path = parent === undefined || parent.path === '' ? name : `${parent.path}/${name}`;
  return {
    name,
    path,
    parent,
    identity,
    kind,
    children: new Map(),
    watcher: undefined,
    known: false,
    suspect: false,
    dead: false,
  };
}

/** The same folder as before, and not another one by its name or with its recycled inode. */
function identityOf(stats: BigIntStats): string {
  return `${stats.dev}-${stats.ino}-${stats.birthtimeNs}`;
}

function find(tree: Tree, path: string): Node | undefined {
  let node: Node | undefined = tree.top;
  if (path === '') return node;
  for (const name of path.split('/')) node = node?.children.get(name);
  return node;
}

/** Brings a known folder and all below it in line with the plan. */
async function review(tree: Tree, node: Node, thorough: boolean): Promise<void> {
  const before = node.kind;
  node.kind = node === tree.top ? 'way' : tree.plan.kindOf(node.path);
  if (node.kind === 'none') {
    detach(node);
    return;
  }
  openWatcher(tree, node);
  if (node.kind === 'input' && (thorough || before !== 'input')) {
    if (before !== 'input') node.known = false;
    tree.jobs.push({ node, fresh: false, dir: undefined });
  }
  for (const child of node.children.values()) await review(tree, child, thorough);
  for (const name of tree.plan.ways(node.path)) {
    if (!node.children.has(name)) await attachIfFolder(tree, node, name, false);
  }
}

async function attachIfFolder(tree: Tree, parent: Node, name: string, fresh: boolean): Promise<void> {
  const path = parent.path === '' ? name : `${parent.path}/${name}`;
  if (tree.plan.kindOf(path) === 'none') return;
  try {
    const stats = await lstat(`${tree.root}/${path}`, { bigint: true });
    if (stats.isDirectory()) await attach(tree, parent, name, stats, fresh);
  } catch (error) {
    if (!isGone(error)) noteUnreadable(tree, path, error);
  }
}

/** @param fresh the folder came while it was watched for: what is in it is news */
async function attach(
  tree: Tree,
  parent: Node,
  name: string,
  stats: BigIntStats,
  fresh: boolean,
): Promise<void> {
  const node = nodeOf(parent, name, identityOf(stats), 'none');
  node.kind = tree.plan.kindOf(node.path);
  // No key below it could be an object's.
  if (node.kind === 'none' || parent.dead || Buffer.byteLength(node.path) > maxKeyBytes + 64) return;
  parent.children.set(name, node);
  // Watched first and read then, so that nothing falls between the two.
  openWatcher(tree, node);
  if (node.kind === 'input') tree.jobs.push({ node, fresh, dir: undefined });
  for (const way of tree.plan.ways(node.path)) await attachIfFolder(tree, node, way, fresh);
}

async function arrived(tree: Tree, path: string, stats: BigIntStats): Promise<void> {
  const slash = path.lastIndexOf('/');
  const parent = find(tree, slash < 0 ? '' : path.slice(0, slash));
  // A folder that is not known itself brings its sub-folders when it is looked at.
  if (parent === undefined) return;
  const name = path.slice(slash + 1);
  const node = parent.children.get(name);
  if (node === undefined) {
    await attach(tree, parent, name, stats, true);
    return;
  }
  if (node.identity !== identityOf(stats)) {
    detach(node);
    await attach(tree, parent, name, stats, true);
    return;
  }
  // Without a watcher: it could not be read before, and may be readable now.
  const unwatched = node.watcher === undefined && !tree.recursive && !tree.exhausted;
  if (!node.suspect && !unwatched) return;
  node.suspect = false;
  const { watcher } = node;
  node.watcher = undefined;
  openWatcher(tree, node);
  watcher?.close();
  if (node.kind === 'input') tree.jobs.push({ node, fresh: false, dir: undefined });
  tree.onLoss();
}

function detach(node: Node): void {
  node.dead = true;
  node.watcher?.close();
  node.watcher = undefined;
  node.parent?.children.delete(node.name);
  for (const child of node.children.values()) detach(child);
}

function openWatcher(tree: Tree, node: Node): void {
  const isBucket = node.parent === tree.top;
  if (node.watcher !== undefined || tree.exhausted) return;
  if (tree.recursive && node !== tree.top && !isBucket) return;
  try {
    node.watcher = tree.watch(
      node === tree.top ? tree.root : `${tree.root}/${node.path}`,
      { recursive: tree.recursive && isBucket },
      (type, name) => {
        heard(tree, node, type, name);
      },
    );
    node.watcher.on('error', (error) => {
      tree.log.warn({ err: error, path: node.path }, 'watching a folder failed, it is watched anew');
      suspectNode(tree, node);
    });
  } catch (error) {
    if (isGone(error)) return;
    if (isExhausted(error)) noteExhausted(tree, error);
    else noteUnreadable(tree, node.path, error);
  }
}

function heard(tree: Tree, node: Node, type: string, name: string | null): void {
  if (node.dead) return;
  if (name === null) {
    tree.onLoss();
    return;
  }
  // A folder that is removed or moved says its own name, as would a file in it that is named like it.
  if (type === 'rename' && name === node.name && node !== tree.top) suspectNode(tree, node);
  const path = node.path === '' ? name : `${node.path}/${name}`;
  if (tree.plan.concerns(path)) tree.onEvent(path);
}

function suspectNode(tree: Tree, node: Node): void {
  node.suspect = true;
  if (node === tree.top) tree.onLoss();
  else tree.onEvent(node.path);
}

/** @returns how many entries may still be read */
async function readOn(tree: Tree, job: Job, entries: number): Promise<number> {
  let left = entries;
  try {
    job.dir ??= job.node.dead
      ? undefined
      : await opendir(`${tree.root}/${job.node.path}`, { bufferSize: 256 });
    while (left > 0 && job.dir !== undefined && !job.node.dead) {
      const entry = await job.dir.read();
      if (entry === null) {
        job.node.known = true;
        break;
      }
      left -= 1;
      await take(tree, job, entry);
    }
    if (left === 0) return 0;
  } catch (error) {
    if (!isGone(error)) noteUnreadable(tree, job.node.path, error);
  }
  tree.jobs.splice(tree.jobs.indexOf(job), 1);
  await job.dir?.close();
  return left - 1;
}

async function take(tree: Tree, { node, fresh }: Job, entry: Dirent): Promise<void> {
  const path = `${node.path}/${entry.name}`;
  if (entry.isDirectory() || isUntold(entry)) {
    const child = node.children.get(entry.name);
    // One that is known is looked at like after an event, since it may be another one by now.
    if (child !== undefined) tree.onEvent(path);
    else await attachIfFolder(tree, node, entry.name, fresh || node.known);
  }
  if (fresh && (entry.isFile() || isUntold(entry)) && tree.plan.concerns(path)) tree.onEvent(path);
}

/** Some file systems don't tell in a listing what an entry is. */
function isUntold(entry: Dirent): boolean {
  return !(
    entry.isFile() ||
    entry.isDirectory() ||
    entry.isSymbolicLink() ||
    entry.isFIFO() ||
    entry.isSocket() ||
    entry.isCharacterDevice() ||
    entry.isBlockDevice()
  );
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCode(error) ?? '');
}

function isExhausted(error: unknown): boolean {
  return ['ENOSPC', 'EMFILE', 'ENFILE', 'ENOMEM'].includes(systemCode(error) ?? '');
}

function noteExhausted(tree: Tree, error: unknown): void {
  tree.exhausted = true;
  if (tree.warned) return;
  tree.warned = true;
  tree.log.warn(
    { err: error },
    'no more folders can be watched: files in the others are found by listing only, which is slower. On Linux raise the limit with "sysctl fs.inotify.max_user_watches=524288" (and fs.inotify.max_user_instances), then restart',
  );
}

function noteUnreadable(tree: Tree, path: string, error: unknown): void {
  tree.log.warn(
    { err: error, path },
    'a folder cannot be watched or read, files in it are found by listing only',
  );
}
