import { readdir, rmdir, unlink } from 'node:fs/promises';
import type { Directories, Directory } from './folder-directory.ts';
import { unlessCode } from './folder-errors.ts';
import { mapLimited } from './folder-limits.ts';

const removalsAtOnce = 8;

/** Removes all that is in a folder, whatever its names; links are removed, never followed. */
export async function emptyFolder(directories: Directories, directory: Directory): Promise<void> {
  const entries = await readdir(directory.self, { encoding: 'buffer', withFileTypes: true });
  const pathOf = (name: Buffer): Buffer => Buffer.concat([Buffer.from(directory.path('')), name]);
  const folders = entries.filter((entry) => entry.isDirectory());
  const others = entries.filter((entry) => !entry.isDirectory());
  await mapLimited(others, removalsAtOnce, async ({ name }) => {
    await unlessCode(['ENOENT'], async () => unlink(pathOf(name)));
  });
  // One after the other, so that open folders are as many as the tree is deep.
  for (const { name } of folders) {
    const child = await directories.child(directory, name);
    if (child === 'absent') continue;
    if (child === 'blocked') {
      // It was swapped for a link or a file just now.
      await unlessCode(['ENOENT'], async () => unlink(pathOf(name)));
      continue;
    }
    try {
      await emptyFolder(directories, child);
    } finally {
      await child.release();
    }
    await unlessCode(['ENOENT'], async () => rmdir(pathOf(name)));
  }
}
