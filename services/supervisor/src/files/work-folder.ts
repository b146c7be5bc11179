import { mkdirSync, realpathSync, rmdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemCode } from '@sluice/shared/errors';
import { removeTree } from './remove-tree.ts';

/** The folders of one attempt. */
export interface WorkFolder {
  /** With every link resolved, so that what `/proc` says of open files can be compared with it. */
  readonly root: string;
  readonly input: string;
  readonly output: string;
}

/**
 * Makes the folders of an attempt, closed to other users. What an earlier process left under that name goes first.
 *
 * Calls that touch one name are synchronous here and wherever they are made once per run: on the thread pool each costs some
 * 90 µs of processor time for the two switches, in place some 5 to 60 µs, and a run needs a dozen of them. The spawn that
 * follows stops the thread for longer. What grows with the user's data never is.
 * @throws the system's error (`ENOSPC`, `EACCES`)
 */
export async function makeWorkFolder(workDir: string): Promise<WorkFolder> {
  try {
    mkdirSync(workDir, { mode: 0o700 });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST') await removeTree(workDir);
    else if (code === 'ENOENT') mkdirSync(dirname(workDir), { recursive: true, mode: 0o700 });
    else throw error;
    mkdirSync(workDir, { mode: 0o700 });
  }
  // The parent's, since the script can't have touched that: by its end the folder itself may be a link to anywhere.
  const root = join(realpathSync(dirname(workDir)), basename(workDir));
  const folder = { root, input: join(root, 'input'), output: join(root, 'output') };
  try {
    mkdirSync(folder.input, { mode: 0o700 });
    mkdirSync(folder.output, { mode: 0o700 });
    return folder;
  } catch (error) {
    rmdirSync(folder.root);
    throw error;
  }
}
