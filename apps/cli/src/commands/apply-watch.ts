import { watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { CliError, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { FdlError } from '../fdl/problem.ts';
import { plural } from '../format/text.ts';
import { outputFailedCode } from '../io.ts';
import { errorDocument } from '../output.ts';
import { loadServices, type Loaded } from '../plan/load.ts';
import { note } from '../say.ts';
import { applyServices, type ApplyOptions, type ApplySettings } from './apply.ts';

/** Unchanged for so long, a file counts as written. */
const settleMs = 300;
/** Where the system tells of no changes (network file systems, too many watches) they are found by looking. */
const lookMs = 2000;

/**
 * Applies the files, and again whenever one of them, of their scripts or of their requirements files changes, until Ctrl-C. Faults are said and waited out: somebody is
 * at work on the files.
 */
export async function watchAndApply(
  context: Context,
  files: readonly string[],
  options: ApplyOptions,
): Promise<ExitCode> {
  if (files.includes('-')) throw usageError('--watch needs files; standard input does not change');
  const watched = new Set(files.map((file) => path.resolve(context.cwd, file)));
  const changes = createChanges(context.signal);
  context.onClose(changes.close);
  let applied: string | undefined;
  try {
    for (;;) {
      changes.follow(watched);
      const settled = await settle(context, watched);
      if (settled === applied) {
        // Anything in the folders may be meant; what it was is seen by looking.
        await changes.next(lookMs);
        continue;
      }
      if (applied !== undefined) await note(context, `changed: ${changedFiles(context, applied, settled)}`);
      applied = await applyOnce(context, {
        files,
        options,
        watched,
        settled,
        isFirst: applied === undefined,
      });
    }
  } catch (error) {
    if (isCtrlC(context.signal)) return exitCodes.ok;
    throw error;
  }
}

/** The usual end of watching. */
function isCtrlC(signal: AbortSignal): boolean {
  const reason: unknown = signal.reason;
  return (
    signal.aborted &&
    reason instanceof Error &&
    'exitCode' in reason &&
    reason.exitCode === exitCodes.interrupted
  );
}

interface Round {
  readonly files: readonly string[];
  readonly options: ApplyOptions;
  readonly watched: Set<string>;
  readonly settled: string;
  readonly isFirst: boolean;
}

/** @returns the state of the files that was dealt with; undefined where it has to be done again */
async function applyOnce(context: Context, round: Round): Promise<string | undefined> {
  const { files, options, watched, settled, isFirst } = round;
  const known = watched.size;
  let loaded: Loaded | undefined;
  let fault: unknown;
  try {
    loaded = await loadServices(context, files, options, (script) => watched.add(script));
  } catch (error) {
    context.signal.throwIfAborted();
    fault = error;
  }
  // Scripts that became known just now, and whatever changed while it was read, may have been read half written.
  if (watched.size > known || (await stateOf(watched)) !== settled) return undefined;
  try {
    if (loaded === undefined) throw fault;
    await showApplied(context, loaded, { rebuilds: options.rebuild === true, showsUnchanged: isFirst });
  } catch (error) {
    context.signal.throwIfAborted();
    await showError(context, error);
  }
  if (isFirst) await note(context, `Watching ${plural(watched.size, 'file')}. Ctrl-C ends it.`);
  return settled;
}

async function showApplied(context: Context, loaded: Loaded, settings: ApplySettings): Promise<void> {
  const { document } = await applyServices(context, loaded, settings);
  await context.json?.line(document);
}

async function showError(context: Context, error: unknown): Promise<void> {
  if (!(error instanceof CliError || error instanceof FdlError) || isOutputError(error)) throw error;
  if (context.json !== undefined) {
    await context.json.line({ error: errorDocument(error) });
    return;
  }
  const hint = error instanceof CliError && error.hint !== undefined ? `\n${error.hint}` : '';
  await context.io.err(`${context.errColors.red(error.message)}${hint}\n`);
}

function isOutputError(error: Error): boolean {
  return error instanceof CliError && error.code === outputFailedCode;
}

/** Waits until nothing has changed for a while: a slow writer makes no events in between. */
async function settle(context: Context, files: ReadonlySet<string>): Promise<string> {
  let state = await stateOf(files);
  for (;;) {
    await context.sleep(settleMs);
    const now = await stateOf(files);
    if (now === state) return state;
    state = now;
  }
}

/** A line for each file: when it was written, its size, and which file it is (editors put a new one in its place). */
async function stateOf(files: ReadonlySet<string>): Promise<string> {
  const lines = await Promise.all(
    [...files].toSorted().map(async (file) => {
      try {
        const { mtimeMs, size, ino } = await stat(file);
        return JSON.stringify([file, mtimeMs, size, ino]);
      } catch {
        return JSON.stringify([file]);
      }
    }),
  );
  return lines.join('\n');
}

function changedFiles(context: Context, before: string, after: string): string {
  const known = new Set(before.split('\n'));
  const names = after
    .split('\n')
    .filter((line) => !known.has(line))
    .map((line) => path.relative(context.cwd, (JSON.parse(line) as [string])[0]));
  return names.join(', ');
}

interface Changes {
  /** Also listens for changes in the folders of these files. */
  follow(files: ReadonlySet<string>): void;
  /** Resolves with the next change, or after `ms`. @throws the signal's reason */
  next(ms: number): Promise<void>;
  close(): void;
}

/** Listens to folders, not files: editors write a new file and rename it. */
function createChanges(signal: AbortSignal): Changes {
  const folders = new Map<string, () => void>();
  let pending = false;
  let wake: () => void = () => undefined;
  const changed = (): void => {
    pending = true;
    wake();
  };
  const listen = (folder: string): void => {
    try {
      const watcher = watch(folder, { persistent: false }, changed);
      const end = (): void => {
        watcher.close();
        folders.delete(folder);
      };
      // The folder is gone, or may not be watched: `lookMs` finds what changes.
      watcher.on('error', end);
      folders.set(folder, end);
    } catch {
      folders.set(folder, () => undefined);
    }
  };
  return {
    follow: (files) => {
      for (const file of files) {
        const folder = path.dirname(file);
        if (!folders.has(folder)) listen(folder);
      }
    },
    next: async (ms) => {
      signal.throwIfAborted();
      if (!pending) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
          signal.addEventListener('abort', wake, { once: true });
        });
        signal.removeEventListener('abort', wake);
        signal.throwIfAborted();
      }
      pending = false;
    },
    close: () => {
      for (const end of folders.values()) end();
    },
  };
}
