import { constants } from 'node:fs';
import {
  access,
  lstat,
  mkdir,
  open,
  opendir,
  readdir,
  realpath,
  rename,
  rm,
  unlink,
  utimes,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, messageOf, systemCode } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { unlessCode, writeError } from './folder-errors.ts';
import type { Roots } from './folder-place.ts';
import { inTempFolder, tempName } from './folder-temp.ts';

/** Names of folders that are being deleted. */
export const trashName = /^trash-[0-9a-f]{24}$/;
const clockName = 'clock';
const probeName = '.sluice-probe';

/**
 * Makes the folders where they are absent and proves that the store can work in them.
 * @throws AppError `unavailable` for a folder that can't be written or is on another file system, `conflict` for folders that overlap
 */
export async function prepareRoots(given: Roots): Promise<Roots> {
  const roots: Roots = {
    buckets: await prepareRoot(given.buckets),
    system: await prepareRoot(given.system),
    temp: await prepareRoot(given.temp),
  };
  refuseOverlap(Object.values(roots));
  await removeLeftovers(roots.temp);
  await makeClock(roots.temp);
  for (const root of [roots.buckets, roots.system]) await proveRename(roots.temp, root);
  return roots;
}

async function prepareRoot(path: string): Promise<string> {
  try {
    const made = await mkdir(path, { recursive: true });
    if (made !== undefined) await syncFolder(dirname(made));
    const real = await realpath(path);
    await access(real, constants.R_OK | constants.W_OK | constants.X_OK);
    return real;
  } catch (error) {
    if (['ENOTDIR', 'EEXIST'].includes(systemCode(error) ?? '')) {
      throw new AppError(
        'unavailable',
        `Cannot use the folder ${path}: it, or a part of its path, is not a folder.`,
        { cause: error },
      );
    }
    throw writeError(error, `use the folder ${path}`);
  }
}

function refuseOverlap(paths: readonly string[]): void {
  for (const [at, one] of paths.entries()) {
    for (const other of paths.slice(at + 1)) {
      if (!`${one}/`.startsWith(`${other}/`) && !`${other}/`.startsWith(`${one}/`)) continue;
      throw new AppError('conflict', `The folders ${one} and ${other} overlap; give each its own.`);
    }
  }
}

/** What a killed process was writing. Folders that it was deleting are left for `findTrash`, since they may be large. */
async function removeLeftovers(temp: string): Promise<void> {
  for await (const entry of await opendir(temp)) {
    if (tempName.test(entry.name)) await rm(join(temp, entry.name), { force: true });
  }
}

/** Folders that a killed process was deleting. */
export async function findTrash(temp: string): Promise<string[]> {
  return (await readdir(temp)).filter((name) => trashName.test(name));
}

/** Equal device numbers do not prove it (bind mounts): an object becomes visible by a rename, so one is tried. */
async function proveRename(temp: string, root: string): Promise<void> {
  const from = join(temp, probeName);
  const to = join(root, probeName);
  try {
    await (await open(from, 'w')).close();
    await rename(from, to);
    await unlink(to);
  } catch (error) {
    await rm(from, { force: true });
    if (systemCode(error) !== 'EXDEV') throw writeError(error, `use the folder ${root}`);
    throw new AppError(
      'unavailable',
      `The folders ${root} and ${temp} are on different file systems. Files become objects by a rename, so both must be on one: move them below one folder.`,
      { cause: error },
    );
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await unlessCode(['EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'], async () => handle.sync());
  } finally {
    await handle.close();
  }
}

async function makeClock(temp: string): Promise<void> {
  try {
    await (await inTempFolder(temp, async () => open(join(temp, clockName), 'a'))).close();
  } catch (error) {
    throw writeError(error, `use the folder ${temp}`);
  }
}

const maxTicks = 100;

/**
 * The time that the file system gives to files now, epoch ms, such that every file that was there before has a `changedAt`
 * of at most it, and every later one a greater one. File times lag behind the machine's clock by up to a tick (10 ms) and
 * are alike within one, so this waits for the next.
 */
export async function fileSystemNow(temp: string, clock: Clock): Promise<number> {
  const first = await touch(temp);
  let now = first;
  // Bounded: the machine's clock may be set back meanwhile.
  for (let tick = 0; now <= first && tick < maxTicks; tick += 1) {
    await clock.sleep(1);
    now = await touch(temp);
  }
  return now - 1;
}

async function touch(temp: string): Promise<number> {
  const path = join(temp, clockName);
  try {
    await utimes(path, 0, 0);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    await makeClock(temp);
  }
  return Number((await lstat(path, { bigint: true })).ctimeNs / 1_000_000n);
}

/** @throws AppError `unavailable` unless all folders are there and can be written */
export async function checkRoots(roots: Roots): Promise<void> {
  for (const root of Object.values(roots)) {
    try {
      await access(root, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw writeError(error, `use the folder ${root}`);
      throw new AppError('unavailable', `The folder ${root} is gone: ${messageOf(error)}.`, { cause: error });
    }
  }
  try {
    await touch(roots.temp);
  } catch (error) {
    throw writeError(error, `use the folder ${roots.temp}`);
  }
}
