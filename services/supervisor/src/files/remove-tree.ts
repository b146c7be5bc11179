import { Buffer, isUtf8 } from 'node:buffer';
import { chmod, lstat, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { systemCode } from '@sluice/shared/errors';

/** Bytes of a path from which on a folder is moved up before it is emptied: scripts can nest deeper than a path may be long. */
const longPath = 2048;
/** How often a folder that fills up again is emptied: something that still runs may write into it. */
const maxTries = 5;
/** Folders of one folder that are taken at a time; the others come with its next turn. */
const maxBatch = 1000;

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
}

/**
 * Removes a file or a folder with all that is in it. Links are removed, never followed; folders closed by their owner are opened
 * first; names may be any bytes. Neither memory nor stack grows with the number of files or the depth. Absent is fine.
 * @throws the system's error where something cannot be removed
 */
export async function removeTree(path: string): Promise<void> {
  const root = Buffer.from(path);
  const stats = await lstat(root).catch(unlessAbsent);
  if (stats === undefined) return;
  if (!stats.isDirectory()) {
    await unlink(root).catch(unlessAbsent);
    return;
  }
  const removal: Removal = { root, moved: 0 };
  const stack = [pending(root, undefined)];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    if (top.emptied) {
      if (await removeEmpty(top)) stack.pop();
    } else {
      stack.push(...(await emptyFolder(top, removal)));
    }
  }
}

function pending(path: Buffer, parent: Buffer | undefined): Pending {
  return { path, parent, emptied: false, tries: 0 };
}

/** True when the folder is gone, false when it is to be emptied once more. */
async function removeEmpty(folder: Pending): Promise<boolean> {
  try {
    await withAccess(folder.parent, async () => rmdir(folder.path));
    return true;
  } catch (error) {
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
  const directory = await withAccess(path, async () =>
    opendir(isUtf8(path) ? path.toString() : path, { encoding: 'latin1', bufferSize: 256 }),
  );
  folder.emptied = true;
  if (directory === undefined) return folders;
  for await (const entry of directory) {
    const child = Buffer.concat([path, Buffer.from('/'), Buffer.from(entry.name, 'latin1')]);
    if (!entry.isDirectory()) await withAccess(path, async () => unlink(child));
    else if (child.length <= longPath) folders.push(pending(child, path));
    else folders.push(await moveUp(child, path, removal));
    if (folders.length >= maxBatch) {
      folder.emptied = false;
      break;
    }
  }
  return folders;
}

async function moveUp(child: Buffer, parent: Buffer, removal: Removal): Promise<Pending> {
  removal.moved += 1;
  const nearer = Buffer.concat([removal.root, Buffer.from(`/.sluice-removed-${removal.moved}`)]);
  await withAccess(parent, async () => {
    // A folder that changes its parent must be writable itself (its ".." is).
    await chmod(child, 0o700);
    await rename(child, nearer);
  });
  return pending(nearer, removal.root);
}

/** Tries again with the folder opened to its owner, where that was what was missing. Undefined when the thing is gone. */
async function withAccess<T>(folder: Buffer | undefined, action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    const code = systemCode(error);
    if (folder === undefined || (code !== 'EACCES' && code !== 'EPERM')) return unlessAbsent(error);
    const stats = await lstat(folder);
    if (!stats.isDirectory()) throw error;
    await chmod(folder, 0o700);
    return action();
  }
}

function unlessAbsent(error: unknown): undefined {
  if (systemCode(error) === 'ENOENT') return undefined;
  throw error;
}
