import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { blocksOf, isCommands, pages } from './support/doc-blocks.ts';
import { createReader, type Reader } from './support/doc-shell.ts';
import { removeFolder, root, tempFolder } from './support/server.ts';

// Every command of every page, as it is written there, page by page from top to bottom.
let folder: string | undefined;
let reader: Reader | undefined;
afterEach(async () => {
  await reader?.stop();
  if (folder !== undefined) await removeFolder(folder);
  reader = undefined;
  folder = undefined;
});

const all = pages().map((page) => ({ page, blocks: blocksOf(page) }));
const here = all
  .map(({ page, blocks }) => ({
    page,
    blocks: blocks.filter(({ real, runBy, notRun }) => !real && (runBy ?? notRun) === undefined),
  }))
  .filter(({ blocks }) => blocks.some(isCommands));

describe('pages', () => {
  test.each(here)('$page', async ({ blocks }) => {
    folder = await tempFolder();
    reader = await createReader(folder, { SLUICE_SETTLE_MS: '300' });
    for (const block of blocks) await expect(reader.follow(block)).resolves.toBeUndefined();
  });

  test('a block that is not run here says by whom, and that one exists', () => {
    const elsewhere = all.flatMap(({ blocks }) => blocks.filter(({ runBy }) => runBy !== undefined));
    expect(elsewhere.length).toBeGreaterThan(0);
    for (const { page, line, runBy = '' } of elsewhere) {
      expect(existsSync(join(root, runBy)), `${page}:${line}: ${runBy}`).toBe(true);
    }
  });

  test('no commands hide in an indented block, which is not found', () => {
    for (const page of pages()) {
      const text = readFileSync(join(root, page), 'utf8');
      expect(/^[ \t]+```(sh|bash|shell|console|zsh)$/m.exec(text)?.[0], page).toBeUndefined();
    }
  });

  test('nothing is left out without a reason', () => {
    const left = all.flatMap(({ blocks }) => blocks.filter(({ notRun }) => notRun !== undefined));
    // The list is here so that it grows only by somebody's decision.
    expect(left.map(({ page, notRun }) => `${page}: ${notRun}`)).toEqual([]);
  });
});
