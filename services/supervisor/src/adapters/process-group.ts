import { readdirSync, readFileSync } from 'node:fs';
import { systemCode } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';

/** First and longest wait between two looks whether a group is gone, in milliseconds. */
const firstLookMs = 10;
const longestLookMs = 250;

/**
 * Ends a process group: SIGTERM, then SIGKILL to whoever is left after the grace. The grace is for the group and not for its leader: a shell dies of
 * SIGTERM while the program that it waits for still tidies up.
 */
export async function endGroup(clock: Clock, group: number, graceMs: number): Promise<void> {
  signalGroup(group, 'SIGTERM');
  const start = clock.monotonic();
  for (let wait = firstLookMs; isGroupAlive(group); wait = Math.min(wait * 2, longestLookMs)) {
    const left = graceMs - (clock.monotonic() - start);
    if (left <= 0) break;
    await clock.sleep(Math.min(wait, left));
  }
  signalGroup(group, 'SIGKILL');
}

/** False when there is nobody in the group. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    const code = systemCode(error);
    // macOS answers EPERM for a group of which only dead processes are left.
    if (code === 'ESRCH' || code === 'EPERM') return false;
    throw error;
  }
}

/**
 * Linux counts the dead that nobody collected as members. Where this server is a container's first process that is for ever, elsewhere it may be
 * seconds: so it is asked which members live. Synchronous, since `/proc` answers from memory, and only while a script is being ended.
 */
function isGroupAlive(group: number): boolean {
  if (!signalGroup(group, 0)) return false;
  if (process.platform !== 'linux') return true;
  return readdirSync('/proc').some((name) => /^[0-9]+$/.test(name) && isLivingMember(name, group));
}

function isLivingMember(pid: string, group: number): boolean {
  try {
    // "pid (name) state parent group …"; the name may hold anything, parentheses too (proc_pid_stat(5)).
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, , itsGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(itsGroup) === group && state !== 'Z' && state !== 'X';
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ESRCH') return false;
    throw error;
  }
}
