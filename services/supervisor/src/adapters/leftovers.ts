import { join } from 'node:path';
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { systemCode } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import { removeTree } from '../files/remove-tree.ts';
import { isMarked, markedInListing } from './process-markers.ts';

/** What became of the processes that were looked for. */
export interface Leftovers {
  /** Processes that were ended. */
  readonly ended: number;
  /** Processes that could not be ended, or not in time. */
  readonly remaining: number;
}

export interface LeftoverDeps {
  readonly clock: Clock;
  /** Milliseconds until it gives up. @default 5000 */
  readonly deadlineMs?: number;
  readonly platform?: NodeJS.Platform;
}

/**
 * Ends the processes that scripts of this installation left when the server was killed, and waits until they are gone: before the attempts that
 * they belong to are started again.
 * @param instance what `createSupervisor` was given; found in a process's environment as `SLUICE_INSTANCE`
 */
export async function killLeftovers(instance: string, deps: LeftoverDeps): Promise<Leftovers> {
  return killMarked([`SLUICE_INSTANCE=${instance}`], deps);
}

/**
 * Ends every process whose environment holds all the markers, by SIGKILL, and waits until none is left. A process that got a fresh environment
 * (`env -i`) is not found: only a container keeps a script that wants to hide.
 */
export async function killMarked(markers: readonly string[], deps: LeftoverDeps): Promise<Leftovers> {
  const { clock, deadlineMs = 5000, platform = process.platform } = deps;
  const killed = new Set<number>();
  const untouchable = new Set<number>();
  const find = platform === 'linux' ? findInProc : findByPs;
  const start = clock.monotonic();
  for (;;) {
    // Again after each round: a process may have made others between the look and the kill.
    const found = (await find(markers)).filter((pid) => !untouchable.has(pid) && pid !== process.pid);
    if (found.length === 0) return { ended: killed.size, remaining: untouchable.size };
    for (const pid of found) {
      if (kill(pid)) killed.add(pid);
      else untouchable.add(pid);
    }
    if (clock.monotonic() - start > deadlineMs) {
      return { ended: killed.size - found.length, remaining: untouchable.size + found.length };
    }
    await clock.sleep(10);
  }
}

/** False where the process is another user's. */
function kill(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch (error) {
    return systemCode(error) === 'ESRCH';
  }
}

async function findInProc(markers: readonly string[]): Promise<readonly number[]> {
  const names = await readdir('/proc');
  const pids = names.filter((name) => /^[0-9]+$/.test(name)).map(Number);
  const marked: number[] = [];
  for (const pid of pids) {
    if (isMarked(await readEnvironment(pid), markers)) marked.push(pid);
  }
  return marked;
}

/** Empty for processes that are gone, dead but not collected, or another user's. */
async function readEnvironment(pid: number): Promise<Buffer> {
  try {
    return await readFile(`/proc/${pid}/environ`);
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return Buffer.alloc(0);
    throw error;
  }
}

const runFile = promisify(execFile);

async function findByPs(markers: readonly string[]): Promise<readonly number[]> {
  const { stdout } = await runFile('ps', ['-axEww', '-o', 'pid=,command='], { maxBuffer: 256 * 1024 * 1024 });
  return markedInListing(stdout, markers);
}

/**
 * Removes the work folders that attempts of a killed server left; after `killLeftovers`, before anything is started.
 * @param workRoot folder that holds one folder an attempt
 * @returns folders that could not be removed
 */
export async function removeLeftWork(workRoot: string): Promise<readonly string[]> {
  const kept: string[] = [];
  for (const name of await readdir(workRoot)) {
    await removeTree(join(workRoot, name)).catch(() => kept.push(name));
  }
  return kept;
}
