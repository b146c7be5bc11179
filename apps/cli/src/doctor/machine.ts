import { constants } from 'node:fs';
import { access, readFile, statfs } from 'node:fs/promises';
import { messageOf } from '../cli-error.ts';
import { bytesText } from '../format/quantity.ts';
import { failure, ok, warning, type Check } from './check.ts';

const leastNode = 24;

export function nodeCheck(version: string): Check {
  const major = Number(version.split('.')[0]);
  if (major >= leastNode) return ok('node', version);
  return failure('node', version, `Sluice needs Node ${leastNode} or newer: https://nodejs.org/en/download`);
}

const MiB = 1024 * 1024;
const littleSpace = 1024 * MiB;
const noSpace = 100 * MiB;

/** Rights and room of a local server's data folder. */
export async function dataFolderChecks(folder: string): Promise<readonly Check[]> {
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const mend = 'Make the folder the user’s that runs the server (chown), or name another with SLUICE_DATA.';
    return [failure('data folder', messageOf(error), mend)];
  }
  const { bavail, bsize } = await statfs(folder);
  return [ok('data folder', folder), spaceCheck(bavail * bsize)];
}

export function spaceCheck(free: number): Check {
  const detail = `${bytesText(free)} free`;
  const mend =
    'Make room: delete objects that are not needed (sluice file rm), or move the data folder to a larger disk.';
  if (free < noSpace) return failure('disk', detail, mend);
  return free < littleSpace ? warning('disk', detail, mend) : ok('disk', detail);
}

/** Below these a server that watches many folders runs out. */
const leastWatches = 65_536;
const leastInstances = 128;

/** Limits of the kernel on watching folders; none where there is no such kernel. */
export async function inotifyChecks(folder = '/proc/sys/fs/inotify'): Promise<readonly Check[]> {
  const read = async (name: string): Promise<number> =>
    Number((await readFile(`${folder}/${name}`, 'utf8')).trim());
  try {
    const [watches, instances] = await Promise.all([read('max_user_watches'), read('max_user_instances')]);
    const detail = `${watches} watches, ${instances} instances`;
    if (watches >= leastWatches && instances >= leastInstances) return [ok('inotify', detail)];
    const want = `fs.inotify.max_user_watches=${Math.max(watches, leastWatches)} fs.inotify.max_user_instances=${Math.max(instances, leastInstances)}`;
    return [
      warning(
        'inotify',
        detail,
        `Files in many folders may be noticed late; raise them: sudo sysctl -w ${want}`,
      ),
    ];
  } catch {
    return [];
  }
}

/** The container engine's socket, where this machine's environment names one. */
export async function engineChecks(dockerHost: string | undefined): Promise<readonly Check[]> {
  if (dockerHost === undefined || !dockerHost.startsWith('unix://')) return [];
  const socket = dockerHost.slice('unix://'.length);
  try {
    await access(socket, constants.R_OK | constants.W_OK);
    return [ok('container engine', socket)];
  } catch (error) {
    const mend = 'Start the engine, or let this user use it (group "docker"); DOCKER_HOST names its socket.';
    return [warning('container engine', messageOf(error), mend)];
  }
}
