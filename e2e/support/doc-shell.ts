import { chmod, cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { isCommands, type DocBlock } from './doc-blocks.ts';
import { root, run, startServer, type Finished, type Server } from './server.ts';
import { waitFor } from './wait.ts';

/** A reader at work: a folder with the examples, a server with its data in `data/`, `npx sluice` at hand. */
export interface Reader {
  readonly server: Server;
  readonly folder: string;
  /** Runs a block as it is written; only the port and what stands in `<…>` is this reader's own. */
  follow(block: DocBlock): Promise<void>;
  stop(): Promise<void>;
}

export async function createReader(
  folder: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Reader> {
  await cp(join(root, 'examples'), join(folder, 'examples'), {
    recursive: true,
    filter: (path) => !path.includes('node_modules'),
  });
  await cp(join(root, 'README.md'), join(folder, 'README.md'));
  const server = await startServer({ data: join(folder, 'data'), env });
  await mkdir(join(folder, 'bin'));
  // `npx sluice` of the checkout, from a folder that is not the checkout.
  const npx = `#!/bin/sh\n[ "$1" = sluice ] && shift\nexec "${process.execPath}" "${root}/apps/cli/bin/sluice.mjs" "$@"\n`;
  await writeFile(join(folder, 'bin/npx'), npx);
  await chmod(join(folder, 'bin/npx'), 0o755);
  const said = { url: '' };
  const shell = async (text: string): Promise<Finished> => {
    return run('bash', ['-euo', 'pipefail', '-c', text], {
      cwd: folder,
      env: {
        PATH: `${join(folder, 'bin')}:${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`,
        XDG_CONFIG_HOME: join(folder, 'config'),
        ...env,
      },
    });
  };
  return {
    server,
    folder,
    follow: async (block) => {
      if (block.file !== undefined) return writeFile(join(folder, block.file), block.text);
      if (!isCommands(block)) return undefined;
      const text = block.text
        .replaceAll('http://127.0.0.1:8080', server.url)
        .replaceAll("'<the url>'", `'${said.url}'`)
        .replaceAll('<id>', block.text.includes('<id>') ? await newestRun(server) : '')
        .replaceAll('<build>', block.text.includes('<build>') ? await newestBuild(server) : '');
      if (block.given !== '') expect((await shell(block.given)).code, block.given).toBe(0);
      const done = await (block.soon ? soon(block, () => shell(text)) : shell(text));
      const what = `${block.page}:${block.line}\n${text}\n${done.stdout}${done.stderr}`;
      expect(done.code, what).toBe(block.exitCode);
      for (const part of block.prints) expect(done.stdout, what).toContain(part);
      said.url = /https?:\/\/\S+/.exec(done.stdout)?.[0] ?? said.url;
      return undefined;
    },
    stop: async () => {
      await server.stop();
    },
  };
}

async function soon(block: DocBlock, ask: () => Promise<Finished>): Promise<Finished> {
  return waitFor(`${block.page}:${block.line}`, async () => {
    const done = await ask();
    const there = done.code === block.exitCode && block.prints.every((part) => done.stdout.includes(part));
    return there ? done : undefined;
  });
}

async function newestBuild(server: Server): Promise<string> {
  const { builds } = (await (await server.request('/system/builds?limit=1')).json()) as {
    builds: { id: string }[];
  };
  const [build] = builds;
  if (build === undefined) throw new Error('a block speaks of a build, and there is none');
  return build.id;
}

async function newestRun(server: Server): Promise<string> {
  const { runs } = (await (await server.request('/system/runs?limit=1')).json()) as {
    runs: { id: string }[];
  };
  const [run] = runs;
  if (run === undefined) throw new Error('a block speaks of a run, and there is none');
  return run.id;
}
