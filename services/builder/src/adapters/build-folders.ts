import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, fromSystemError, systemCode } from '@sluice/shared/errors';
import type { Logger } from '@sluice/shared/telemetry';
import type { BuildPlaces } from '../domain/build-arguments.ts';
import type { BuildPlan } from '../ports.ts';

/** Folders of builds that are under way. The root is one container's or machine's alone: processes are told apart by their numbers. */
export interface BuildFolders {
  /** Makes a folder that only this user may look into, and removes it afterwards, whatever happens. */
  use<T>(work: (folder: string) => Promise<T>): Promise<T>;
  /** Removes what processes left that are dead. @returns how many folders */
  sweep(): Promise<number>;
}

const ownerForm = /^build-(\d{1,10})-(\d{1,20})-[A-Za-z0-9]{6}$/;

export function createBuildFolders(root: string, log: Pick<Logger, 'warn'>): BuildFolders {
  return {
    use: async (work) => {
      const folder = await makeFolder(root);
      try {
        return await work(folder);
      } finally {
        await rm(folder, { recursive: true, force: true }).catch((error: unknown) => {
          log.warn({ err: error, folder }, 'the folder of a build stays; the next start removes it');
        });
      }
    },
    sweep: async () => {
      let count = 0;
      for (const name of await namesIn(root)) {
        const [, pid, started] = ownerForm.exec(name) ?? [];
        if (pid === undefined || started === undefined) continue;
        if ((await startOf(pid)) === started) continue;
        await rm(join(root, name), { recursive: true, force: true });
        count += 1;
      }
      return count;
    },
  };
}

async function makeFolder(root: string): Promise<string> {
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
    const started = (await startOf(String(process.pid))) ?? '0';
    return await mkdtemp(join(root, `build-${process.pid}-${started}-`));
  } catch (error) {
    throw fromSystemError(error, `make a folder for a build in ${root}`);
  }
}

async function namesIn(root: string): Promise<readonly string[]> {
  try {
    return await readdir(root);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw fromSystemError(error, `look into ${root}`);
  }
}

/**
 * When a process began, in ticks since the machine did: a container's processes have the same few numbers at every start. Elsewhere than on Linux
 * `0` for one that lives; undefined for one that is gone.
 */
async function startOf(pid: string): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    // "pid (name) state …", the name may hold anything; the start is field 22 (proc_pid_stat(5)).
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    if (process.platform === 'linux') return undefined;
  }
  try {
    process.kill(Number(pid), 0);
    return '0';
  } catch (error) {
    return systemCode(error) === 'EPERM' ? '0' : undefined;
  }
}

/** What a build's folder holds beside the places that are told to `buildctl`. */
export interface BuildFiles extends BuildPlaces {
  /** What `DOCKER_CONFIG` names. */
  readonly docker: string;
}

const fileName = /^(?!\.\.?(?:\/|$))[\w.-]{1,128}(?:\/(?!\.\.?(?:\/|$))[\w.-]{1,128}){0,4}$/;
const hubLogin = 'https://index.docker.io/v1/';

/**
 * Writes the context, the Dockerfile and the logins of one build.
 * @throws AppError `invalid_input` for a file outside the context
 */
export async function writeBuildFiles(folder: string, plan: BuildPlan): Promise<BuildFiles> {
  const places: BuildFiles = {
    context: join(folder, 'context'),
    // Apart from the context: a file of the user's may have any name.
    dockerfile: join(folder, 'dockerfile'),
    docker: join(folder, 'docker'),
    metadata: join(folder, 'metadata.json'),
  };
  const auths = Object.entries(plan.logins).map(([host, { username, password }]) => {
    const auth = Buffer.from(`${username}:${password}`).toString('base64');
    return [host === 'docker.io' ? hubLogin : host, { auth }];
  });
  try {
    for (const place of [places.context, places.dockerfile, places.docker])
      await mkdir(place, { mode: 0o700 });
    await writeSent(join(places.dockerfile, 'Dockerfile'), plan.dockerfile);
    await writeFile(
      join(places.docker, 'config.json'),
      JSON.stringify({ auths: Object.fromEntries(auths) }),
      {
        mode: 0o600,
      },
    );
    for (const { name, text } of plan.files) await writeContextFile(places.context, name, text);
  } catch (error) {
    throw fromSystemError(error, 'write the files of a build');
  }
  return places;
}

async function writeContextFile(context: string, name: string, text: string): Promise<void> {
  if (!fileName.test(name)) {
    throw new AppError(
      'invalid_input',
      `A build has a file of the name ${JSON.stringify(name.slice(0, 200))}.`,
      {
        field: 'files',
      },
    );
  }
  const path = join(context, name);
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await writeSent(path, text);
}

/**
 * BuildKit keeps the context of the build before, whoever's it was, and takes a file of the same name, size and time for the same: two users who
 * ask within one tick of the file system's clock could get each other's. So the time is made of the content.
 */
async function writeSent(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o644 });
  const time = contentTime(text);
  await utimes(path, time, time);
}

/** 2001 to 2019, to the microsecond: before the time that everything in an image gets, so that it is kept. */
function contentTime(text: string): number {
  const hash = createHash('sha256').update(text).digest();
  return (
    1_000_000_000 + (hash.readUInt32BE(0) % 570_000_000) + (hash.readUInt32BE(4) % 1_000_000) / 1_000_000
  );
}
