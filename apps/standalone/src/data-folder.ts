import { randomBytes } from 'node:crypto';
import { access, chmod, constants, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Secret } from '@sluice/shared/config';
import { AppError, systemCode } from '@sluice/shared/errors';

/** Where everything is. */
export interface DataFolder {
  readonly root: string;
  readonly buckets: string;
  readonly system: string;
  readonly temp: string;
  readonly logs: string;
  readonly buildLogs: string;
  readonly work: string;
  readonly scripts: string;
  readonly database: string;
  readonly passwordFile: string;
  readonly serverFile: string;
}

/**
 * Makes the data folder and its sub-folders, for this user alone.
 * @throws AppError when it can't be made or written
 */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const root = resolve(path);
  const folder: DataFolder = {
    root,
    buckets: join(root, 'buckets'),
    system: join(root, 'system'),
    temp: join(root, 'tmp'),
    logs: join(root, 'logs'),
    buildLogs: join(root, 'build-logs'),
    work: join(root, 'work'),
    scripts: join(root, 'scripts'),
    database: join(root, 'sluice.db'),
    passwordFile: join(root, 'admin-password'),
    serverFile: join(root, 'server.json'),
  };
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
    for (const sub of [
      folder.buckets,
      folder.system,
      folder.temp,
      folder.logs,
      folder.work,
      folder.scripts,
    ]) {
      await mkdir(sub, { recursive: true, mode: 0o700 });
      await access(sub, constants.R_OK | constants.W_OK | constants.X_OK);
    }
    await probeWrite(folder.temp);
  } catch (error) {
    throw new AppError(
      'unavailable',
      `The data folder ${root} cannot be used (${systemCode(error) ?? 'unknown error'}). Make it writable for this user, free some space, or set SLUICE_DATA to another folder.`,
      { cause: error },
    );
  }
  return folder;
}

/** `access` says yes on a read-only mount for root: only writing tells. */
async function probeWrite(folder: string): Promise<void> {
  const path = join(folder, `probe-${randomBytes(6).toString('hex')}`);
  await writeFile(path, 'probe', { mode: 0o600 });
  await rm(path);
}

/** Reads a secret file, or makes it (mode 0600) with fresh random text; `made` tells which. */
export async function keepSecret(path: string, bytes: number): Promise<{ secret: Secret; made: boolean }> {
  const found = await readSecret(path);
  if (found !== undefined) return { secret: found, made: false };
  const value = randomBytes(bytes).toString('base64url');
  // Written whole under another name first: a kill in between must not leave an empty password behind.
  const temporary = `${path}.${randomBytes(4).toString('hex')}`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(`${value}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  return { secret: new Secret(value), made: true };
}

async function readSecret(path: string): Promise<Secret | undefined> {
  let value: string;
  try {
    value = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw new AppError('unavailable', `${path} cannot be read (${systemCode(error) ?? 'unknown error'}).`, {
      cause: error,
    });
  }
  if (value === '') {
    throw new AppError('conflict', `${path} is empty. Remove it and start again to have a new one made.`);
  }
  await chmod(path, 0o600);
  return new Secret(value);
}

/** Tells local clients where the server is; for this user alone. */
export async function writeServerFile(
  path: string,
  content: { url: string; username: string },
): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, `${JSON.stringify({ ...content, pid: process.pid })}\n`, { mode: 0o600 });
  await rename(temporary, path);
}
