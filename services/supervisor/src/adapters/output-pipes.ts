import { execFile } from 'node:child_process';
import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AppError, systemCode } from '@sluice/shared/errors';

/** Both ends of a pipe that is open. */
export interface OutputPipe {
  readonly path: string;
  /** Does not block. */
  readonly readFd: number;
  /** Blocks, as programs expect of their output. */
  readonly writeFd: number;
}

export interface OutputPipes {
  /** @throws AppError `unavailable` */
  open(): Promise<OutputPipe>;
  /** After both ends are closed here. @param reusable nobody else has it open */
  giveBack(pipe: OutputPipe, reusable: boolean): void;
}

const batch = 8;
const makeFifos = promisify(execFile);

/**
 * Pipes for what scripts print. Node gives a child sockets instead, one for each stream: the order of the two is lost, and a script that opens
 * `/dev/stderr` or `/dev/stdout` fails on Linux (ENXIO). A named pipe has neither fault, costs no more, and needs no program around the script.
 * Node cannot make one; `mkfifo` makes eight at a time, and each is used again by the next run.
 * @param dir folder of these pipes alone; what is in it goes
 */
export function createOutputPipes(dir: string): OutputPipes {
  const free: string[] = [];
  let made = 0;
  let making: Promise<void> | undefined;

  const makeMore = async (): Promise<void> => {
    if (made === 0) emptyFolder(dir);
    // Again, since a script may have removed it.
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const paths = Array.from({ length: batch }, () => join(dir, String((made += 1))));
    try {
      await makeFifos('mkfifo', ['-m', '600', ...paths]);
    } catch (error) {
      throw new AppError(
        'unavailable',
        'Cannot make pipes for the output of scripts: the program "mkfifo" failed.',
        {
          cause: error,
        },
      );
    }
    free.push(...paths);
  };

  return {
    open: async () => {
      for (;;) {
        const path = free.pop();
        if (path === undefined) {
          making ??= makeMore().finally(() => {
            making = undefined;
          });
          await making;
          continue;
        }
        const pipe = openBoth(path);
        if (pipe !== undefined) return pipe;
      }
    },
    giveBack: (pipe, reusable) => {
      if (reusable) free.push(pipe.path);
      else removeFile(pipe.path);
    },
  };
}

/** Undefined where the pipe is gone: a cleaner of temporary files was there. */
function openBoth(path: string): OutputPipe | undefined {
  let readFd: number | undefined;
  try {
    readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    // Does not wait for a reader, since there is one.
    return { path, readFd, writeFd: openSync(path, constants.O_WRONLY) };
  } catch (error) {
    if (readFd !== undefined) closeSync(readFd);
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Pipes of an earlier process: nobody reads them any more. */
function emptyFolder(dir: string): void {
  if (!existsSync(dir)) return;
  for (const name of readdirSync(dir)) unlinkSync(join(dir, name));
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
