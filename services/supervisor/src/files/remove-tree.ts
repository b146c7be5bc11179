import { Buffer } from 'node:buffer';
import { chmod, lstat, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { systemCode } from '@sluice/shared/errors';

/** Bytes of a path from which on a folder is moved up before it is emptied: scripts can nest deeper than a path may be long. */
const longPath = 2048;
/** How often a folder that fills up again is emptied: something that still runs may write into it. */
const maxPasses = 5;

interface Removal {
  readonly root: Buffer;
  moved: number;
}

/** A folder on the way down; it is removed when it comes up again. */
interface Pending {
  readonly path: Buffer;
  passes: number;
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
  const stack: Pending[] = [{ path: root, passes: 0 }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    if (top.passes > 0 && (await removedEmpty(top))) {
      stack.pop();
      continue;
    }
    top.passes += 1;
    for (const folder of await emptyFolder(top.path, removal)) stack.push({ path: folder, passes: 0 });
  }
}

/** True when the folder is gone, false when it is to be emptied once more. */
async function removedEmpty(folder: Pending): Promise<boolean> {
  try {
    await rmdir(folder.path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return true;
    if (systemCode(error) !== 'ENOTEMPTY' || folder.passes >= maxPasses) throw error;
    return false;
  }
}

/** At most this many folders of one folder are taken at a time: the others come with its next pass. */
const maxBatch = 1000;

/** Removes the files of a folder; its folders are returned, each under the path it can be reached by. */
async function emptyFolder(path: Buffer, removal: Removal): Promise<readonly Buffer[]> {
  const folders: Buffer[] = [];
  const directory = await withAccess(path, async () =>
    // Node's types lack the encoding that its documentation gives: names here may be any bytes.
    opendir(path as unknown as string, { encoding: 'buffer' as BufferEncoding, bufferSize: 256 }),
  );
  if (directory === undefined) return folders;
  for await (const entry of directory) {
    const child = Buffer.concat([path, Buffer.from('/'), Buffer.from(entry.name)]);
    if (!entry.isDirectory()) {
      await withAccess(path, async () => unlink(child));
    } else if (child.length <= longPath) {
      folders.push(child);
    } else {
      removal.moved += 1;
      const nearer = Buffer.concat([removal.root, Buffer.from(`/.sluice-removed-${removal.moved}`)]);
      await withAccess(path, async () => rename(child, nearer));
      folders.push(nearer);
    }
    if (folders.length >= maxBatch) break;
  }
  return folders;
}

/** Tries again with the folder opened to its owner, where that was what was missing. Undefined when the thing is gone. */
async function withAccess<T>(folder: Buffer, action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EACCES' || code === 'EPERM') {
      const stats = await lstat(folder);
      if (!stats.isDirectory()) throw error;
      await chmod(folder, 0o700);
      return action();
    }
    return unlessAbsent(error);
  }
}

function unlessAbsent(error: unknown): undefined {
  if (systemCode(error) === 'ENOENT') return undefined;
  throw error;
}
