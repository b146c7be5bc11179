import { afterAll, beforeAll, expect, test } from 'vitest';
import { blocksOf, pages } from './support/doc-blocks.ts';
import { createReader, type Reader } from './support/doc-shell.ts';
import { removeFolder, tempFolder } from './support/server.ts';

// The commands of pages that need a container engine.
let folder: string;
let reader: Reader;
beforeAll(async () => {
  const { DOCKER_HOST } = process.env;
  if (!DOCKER_HOST)
    throw new Error('this test needs a Docker engine: set DOCKER_HOST, and have docker on the path');
  folder = await tempFolder();
  reader = await createReader(folder, { DOCKER_HOST });
});
afterAll(async () => {
  await reader?.stop();
  if (folder) await removeFolder(folder);
});

const blocks = pages()
  .flatMap((page) => blocksOf(page))
  .filter(({ real }) => real)
  .map((block) => ({ where: `${block.page}:${block.line}`, block }));

test.each(blocks)('$where', async ({ block }) => {
  await expect(reader.follow(block)).resolves.toBeUndefined();
});
