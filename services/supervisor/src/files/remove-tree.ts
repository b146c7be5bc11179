import { Buffer, isUtf8 } from 'node:buffer';
import { chmodSync, lstatSync, opendirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { rmdir, unlink } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { systemCode } from '@sluice/shared/errors';

/** Bytes of a path from which on a folder is moved up before it is emptied: scripts can nest deeper than a path may be long. */
const longPath = 2048;
/** How often a folder that fills up again is emptied: something that still runs may write into it. */
const maxTries = 5;
/** Folders of one folder that are taken at a time; the others come with its next turn. */
const maxBatch = 1000;
/** Entries after which others get a turn: calls are synchronous (see `makeWorkFolder`). */
const yieldAfter = 128;
/** Bytes of a file from which on giving its blocks back takes long enough to be done elsewhere. */
const largeFile = 4 * 1024 * 1024;

/** A folder on the way down; it is removed when it comes up again. */
interface Pending {
  readonly path: Buffer;
  /** The folder it is in, unless that is not ours to change. */
  readonly parent: Buffer | undefined;
  emptied: boolean;
  tries: number;
}

interface Removal {
  readonly root: Buffer;
  moved: number;
  steps: number;
}

/**
 * Removes a file or a folder with all that is in it. Links are removed, never followed; folders closed by their owner are opened
 * first; names may be any bytes. Neither memory nor stack grows with the number of files or the depth. Absent is fine.
 * @throws the system's error where something cannot be removed
 */
export async function removeTree(path: string): Promise<void> {
  const root = Buffer.from(path);
  const stats = lstatSync(root, { throwIfNoEntry: false });
  if (stats === undefined) return;
  const removal: Removal = { root, moved: 0, steps: 0 };
  if (!stats.isDirectory()) {
    await removeFile(root, undefined);
    return;
  }
  const stack = [pending(root, undefined)];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    if (!top.emptied) stack.push(...(await emptyFolder(top, removal)));
    else if (await removeEmpty(top)) stack.pop();
    await step(removal);
  }
}

function pending(path: Buffer, parent: Buffer | undefined): Pending {
  return { path, parent, emptied: false, tries: 0 };
}

async function step(removal: Removal): Promise<void> {
  removal.steps += 1;
  if (removal.steps % yieldAfter === 0) await setImmediate();
}

/** True when the folder is gone, false when it is to be emptied once more. */
async function removeEmpty(folder: Pending): Promise<boolean> {
  try {
    await rmdir(folder.path).catch((error: unknown) => {
      if (isDenied(error)) withAccess(folder.parent, () => rmdirSync(folder.path));
      else throw error;
    });
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return true;
    folder.tries += 1;
    folder.emptied = false;
    if (systemCode(error) !== 'ENOTEMPTY' || folder.tries >= maxTries) throw error;
    return false;
  }
}

/** Removes the files of a folder; its folders are returned, each under a path it can be reached by. */
async function emptyFolder(folder: Pending, removal: Removal): Promise<readonly Pending[]> {
  const { path } = folder;
  const folders: Pending[] = [];
  // Latin-1 gives each byte of a name as one character, so that any name can be turned back into what it was.
  const directory = withAccess(path, () =>
    opendirSync(isUtf8(path) ? path.toString() : path, { encoding: 'latin1', bufferSize: 64 }),
  );
  folder.emptied = true;
  if (directory === undefined) return folders;
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      const child = Buffer.concat([path, Buffer.from('/'), Buffer.from(entry.name, 'latin1')]);
      if (!entry.isDirectory()) await removeFile(child, path);
      else if (child.length <= longPath) folders.push(pending(child, path));
      else folders.push(moveUp(child, path, removal));
      await step(removal);
      if (folders.length >= maxBatch) {
        folder.emptied = false;
        break;
      }
    }
  } finally {
    directory.closeSync();
  }
  return folders;
}

async function removeFile(path: Buffer, parent: Buffer | undefined): Promise<void> {
  const size = withAccess(parent, () => lstatSync(path).size);
  if (size === undefined) return;
  if (size < largeFile) {
    withAccess(parent, () => unlinkSync(path));
    return;
  }
  await unlink(path).catch((error: unknown) => {
    if (isDenied(error)) withAccess(parent, () => unlinkSync(path));
    else if (systemCode(error) !== 'ENOENT') throw error;
  });
}

function moveUp(child: Buffer, parent: Buffer, removal: Removal): Pending {
  removal.moved += 1;
  const nearer = Buffer.concat([removal.root, Buffer.from(`/.sluice-removed-${removal.moved}`)]);
  withAccess(parent, () => {
    // A folder that changes its parent must be writable itself (its ".." is).
    chmodSync(child, 0o700);
    renameSync(child, nearer);
  });
  return pending(nearer, removal.root);
}

/** Tries again with the folder opened to its owner, where that was what was missing. Undefined when the thing is gone. */
function withAccess<T>(folder: Buffer | undefined, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    if (folder === undefined || !isDenied(error)) throw error;
    if (!lstatSync(folder).isDirectory()) throw error;
    chmodSync(folder, 0o700);
    return action();
  }
}

function isDenied(error: unknown): boolean {
  return systemCode(error) === 'EACCES' || systemCode(error) === 'EPERM';
}
