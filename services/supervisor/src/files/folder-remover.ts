import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import { removeTree } from './remove-tree.ts';

/** Removes folders that nobody needs any more, each under a name that is never used again. */
export interface FolderRemover {
  /**
   * Tries once; where that fails, again a few times beside whatever goes on. Never rejects.
   * @param fields for the log line that says how it ended
   */
  remove(folder: string, fields: Readonly<Record<string, unknown>>): Promise<void>;
}

/** Before each further try. What stands in the way (no descriptor left, a process that still writes) mostly passes. */
const pausesMs = [100, 1000, 5000, 30_000, 120_000];
/** Folders that wait for a further try; the others are left to the next start, which removes all. */
const mostWaiting = 1000;

export function createFolderRemover({
  clock,
  log,
}: {
  readonly clock: Clock;
  readonly log: Logger;
}): FolderRemover {
  let waiting = 0;
  const tryAgain = async (folder: string, fields: object, first: unknown): Promise<void> => {
    let error = first;
    let tries = 1;
    for (const pause of pausesMs) {
      await clock.sleep(pause);
      tries += 1;
      try {
        await removeTree(folder);
        log.info({ ...fields, work_dir: folder, tries }, 'work folder was removed after more than one try');
        return;
      } catch (again) {
        error = again;
      }
    }
    log.warn({ ...fields, err: error, work_dir: folder, tries }, 'work folder is left until the next start');
  };
  return {
    remove: async (folder, fields) => {
      try {
        await removeTree(folder);
      } catch (error) {
        if (waiting >= mostWaiting) {
          const told = { ...fields, err: error, work_dir: folder, tries: 1 };
          log.warn(told, 'work folder is left until the next start');
          return;
        }
        waiting += 1;
        void tryAgain(folder, fields, error).finally(() => {
          waiting -= 1;
        });
      }
    },
  };
}
