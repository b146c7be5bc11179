import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runsOf } from './support/service.ts';
import {
  removeFolder,
  root,
  run,
  startServer,
  tempFolder,
  type Finished,
  type Server,
} from './support/server.ts';
import { waitFor } from './support/wait.ts';

// The commands of README.md and the user guide, as they are written there; only the port is the test's own.
let folder: string;
let server: Server;

beforeAll(async () => {
  folder = await tempFolder();
  await cp(join(root, 'examples'), join(folder, 'examples'), {
    recursive: true,
    filter: (path) => !path.includes('node_modules'),
  });
  server = await startServer({ data: join(folder, 'data') });
  // `npx sluice` of the checkout, from a folder that is not the checkout.
  await mkdir(join(folder, 'bin'));
  const npx = `#!/bin/sh\n[ "$1" = sluice ] && shift\nexec "${process.execPath}" "${root}/apps/cli/bin/sluice.mjs" "$@"\n`;
  await writeFile(join(folder, 'bin/npx'), npx);
  await chmod(join(folder, 'bin/npx'), 0o755);
});
afterAll(async () => {
  await server.stop();
  await removeFolder(folder);
});

interface Block {
  readonly language: string;
  readonly text: string;
}

async function blocksOf(file: string): Promise<Block[]> {
  const text = await readFile(join(root, file), 'utf8');
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? '',
    text: match[2] ?? '',
  }));
}

function block(blocks: readonly Block[], beginning: string): string {
  const found = blocks.find((one) => one.text.includes(beginning));
  if (found === undefined) throw new Error(`no code block with "${beginning}"`);
  return found.text;
}

async function shell(script: string): Promise<Finished> {
  const text = script.replaceAll('http://127.0.0.1:8080', server.url);
  const done = await run('bash', ['-euo', 'pipefail', '-c', text], {
    cwd: folder,
    env: { PATH: `${join(folder, 'bin')}:${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}` },
  });
  expect(done.code, `${text}\n${done.stdout}${done.stderr}`).toBe(0);
  return done;
}

test('README: apply, copy a file in, read the result', async () => {
  const lines = block(await blocksOf('README.md'), 'cp examples/word-count')
    .trim()
    .split('\n');
  const result = lines.at(-1) ?? '';
  expect(result).toMatch(/^cat /);
  await shell(lines.slice(0, 2).join('\n'));
  await waitFor('the run', async () => (await runsOf(server, 'word-count', 'succeeded'))[0]);
  expect((await shell(lines.slice(2).join('\n'))).stdout).toContain('words: 366');
});

describe('the user guide', () => {
  test('your first service', async () => {
    const blocks = await blocksOf('docs/user-guide.md');
    await writeFile(join(folder, 'hello.yaml'), block(blocks, 'name: hello'));
    await writeFile(join(folder, 'hello.sh'), block(blocks, 'saying hello to'));
    const done = await shell(block(blocks, 'npx sluice plan hello.yaml'));
    expect(done.stdout).toContain('Hello, world!');
  });

  test('a presigned upload', async () => {
    const blocks = await blocksOf('docs/user-guide.md');
    const url = (await shell(block(blocks, '"operation":"upload"'))).stdout.trim();
    await shell(`curl --fail --upload-file world.txt '${url}'`);
    await waitFor('the second run', async () => (await runsOf(server, 'hello', 'succeeded'))[1]);
  });

  test('a direct call', async () => {
    const blocks = await blocksOf('docs/user-guide.md');
    expect((await shell(block(blocks, 'Authorization: Bearer $token'))).stdout).toMatch(
      /^location: \/system\/runs\//im,
    );
    const done = await shell('npx sluice submit hello world.txt --wait');
    expect(done.stdout).toContain('hello/out/');
  });

  test('when something went wrong', async () => {
    const failed = (await runsOf(server, 'hello'))[0]?.id ?? '';
    await shell(block(await blocksOf('docs/user-guide.md'), 'npx sluice status').replaceAll('<id>', failed));
  });
});
