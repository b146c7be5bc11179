import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '@sluice/shared/lifecycle';
import type { WorkFolder, WorkFolders } from '../ports.ts';
import type { FolderRemover } from './folder-remover.ts';
import { makeWorkFolder } from './work-folder.ts';

/** The folders of one runner's calls: a new one for each, made before the call and removed after its answer. */
export interface CallFolders extends WorkFolders {
  /** Now is a good moment for what can wait: this process has nothing to do for the call in hand. */
  tidy(): void;
  /** Removes what is left; resolves when that is done. */
  close(): Promise<void>;
}

/** After the last call the rest is done so much later: not while its answer is on its way or the next call comes in. */
const quietMs = 25;
/** Folders that may wait to be removed when the next call begins. */
const mostLeft = 1;

interface State {
  readonly dir: string;
  readonly clock: Clock;
  readonly remover: FolderRemover;
  readonly left: string[];
  made: number;
  next: WorkFolder | undefined;
  working: Promise<void> | undefined;
  waiting: boolean;
  closed: boolean;
}

/** @param deps.dir of this runner alone */
export function createCallFolders(deps: {
  readonly dir: string;
  readonly clock: Clock;
  readonly remover: FolderRemover;
}): CallFolders {
  const state: State = {
    ...deps,
    left: [],
    made: 0,
    next: undefined,
    working: undefined,
    waiting: false,
    closed: false,
  };
  return {
    take: async () => {
      if (state.left.length > mostLeft) await tidy(state);
      const { next } = state;
      state.next = undefined;
      if (next === undefined) return make(state);
      if (isUntouched(next)) return next;
      state.left.push(next.root);
      return make(state);
    },
    giveBack: (folder) => {
      state.left.push(folder.root);
      // One timer for all calls that end while it runs.
      if (state.waiting) return;
      state.waiting = true;
      void state.clock.sleep(quietMs).then(() => {
        state.waiting = false;
        void tidy(state);
      });
    },
    tidy: () => {
      setImmediate(() => void tidy(state));
    },
    close: async () => {
      state.closed = true;
      await state.working;
      if (state.next !== undefined) state.left.push(state.next.root);
      state.next = undefined;
      await removeLeft(state);
    },
  };
}

async function make(state: State): Promise<WorkFolder> {
  state.made += 1;
  return makeWorkFolder(join(state.dir, String(state.made)));
}

/** One at a time; never rejects. */
function tidy(state: State): Promise<void> {
  return (state.working ??= tidyOnce(state).finally(() => {
    state.working = undefined;
  }));
}

async function tidyOnce(state: State): Promise<void> {
  if (state.closed) return;
  await removeLeft(state);
  if (state.closed || state.next !== undefined) return;
  try {
    state.next = await make(state);
  } catch {
    // The call that needs one tries itself, and has somebody to tell.
  }
}

async function removeLeft({ left, remover }: State): Promise<void> {
  for (const root of left.splice(0)) await remover.remove(root, {});
}

/** A script of an earlier call may have found the folder: what it left in there, or put in its place, is not the next call's. */
function isUntouched({ root, input, output }: WorkFolder): boolean {
  try {
    if (!lstatSync(root).isDirectory()) return false;
    const entries = readdirSync(root, { withFileTypes: true });
    if (entries.length !== 2 || !entries.every((entry) => entry.isDirectory())) return false;
    return readdirSync(input).length === 0 && readdirSync(output).length === 0;
  } catch {
    // Gone, or closed to us.
    return false;
  }
}
