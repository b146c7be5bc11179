import { closeSync, existsSync, openSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Compile } from 'typebox/schema';
import { parse } from 'yaml';
import { parseFdl } from '../../src/index.ts';
import { json, run, sluice, startServer, temporary, text } from './helpers.ts';

let folder: ReturnType<typeof temporary>;
beforeEach(() => {
  folder = temporary();
});
afterEach(() => {
  folder.remove();
});

const cli = (...args: string[]) => sluice(args, { cwd: folder.path });
const at = (...names: string[]): string => path.join(folder.path, ...names);

describe('init', () => {
  it.each(['sh', 'python', 'node'])(
    'writes a definition and a script in %s that do something',
    async (lang) => {
      const done = await cli('init', 'word-count', '--lang', lang, '--dir', 'new folder');
      expect(done).toMatchObject({ code: 0, stderr: '' });
      expect(done.stdout).toContain("sluice apply 'new folder/word-count.yaml'");
      const fdl = readFileSync(at('new folder/word-count.yaml'));
      const script = at('new folder/word-count.sh');
      expect(statSync(script).mode & 0o777).toBe(0o755 & ~process.umask());
      const parsed = parseFdl('word-count.yaml', fdl, () => ({ bytes: readFileSync(script) }));
      expect(parsed.warnings).toEqual([]);
      expect(parsed.services[0]?.document).toMatchObject({
        name: 'word-count',
        input: [{ path: 'word-count/in' }],
        output: [{ path: 'word-count/out' }],
      });
      writeFileSync(at('poem one.txt'), 'a\nb\n');
      const ended = spawnSync('/bin/sh', [script], {
        env: { ...process.env, INPUT_FILE_PATH: at('poem one.txt'), TMP_OUTPUT_DIR: folder.path },
        encoding: 'utf8',
      });
      expect(ended).toMatchObject({ status: 0, stderr: '' });
      const report = 'file: poem one.txt\nbytes: 4\nlines: 2\n';
      expect(ended.stdout).toBe(report);
      expect(readFileSync(at('poem one-report.txt'), 'utf8')).toBe(report);
    },
  );

  it('names a schema that is there and takes the file', async () => {
    const { stdout } = await cli('schema');
    await cli('init', 'demo');
    const fdl = readFileSync(at('demo.yaml'), 'utf8');
    const reference = /^# yaml-language-server: \$schema=(\S+)\n/.exec(fdl)?.[1] ?? '';
    const schema = JSON.parse(readFileSync(fileURLToPath(reference), 'utf8')) as object;
    expect(schema).toEqual(JSON.parse(stdout));
    expect(Compile(schema).Check(parse(fdl))).toBe(true);
  });

  it('takes image and places as told, in quotes where YAML needs them', async () => {
    await cli(
      'init',
      'demo',
      '--image',
      'a: "b" # c',
      '--input',
      '/in-bucket/',
      '--output',
      'out-bucket/x y',
    );
    expect(parse(readFileSync(at('demo.yaml'), 'utf8'))).toMatchObject({
      functions: {
        oscar: [
          {
            local: {
              image: 'a: "b" # c',
              input: [{ path: 'in-bucket' }],
              output: [{ path: 'out-bucket/x y' }],
            },
          },
        ],
      },
    });
  });

  it('overwrites only with --force', async () => {
    writeFileSync(at('demo.sh'), 'precious');
    expect(await cli('init', 'demo')).toMatchObject({ code: 2, stdout: '' });
    expect(readdirSync(folder.path)).toEqual(['demo.sh']);
    expect(readFileSync(at('demo.sh'), 'utf8')).toBe('precious');
    expect((await cli('init', 'demo', '--force', '--json')).code).toBe(0);
    expect(readFileSync(at('demo.sh'), 'utf8')).toContain('INPUT_FILE_PATH');
    expect(readdirSync(folder.path)).toEqual(['demo.sh', 'demo.yaml']);
  });

  it.each([
    [['init'], 'sluice init NAME'],
    [['init', 'Demo'], 'lower-case'],
    [['init', 'a/../b'], 'lower-case'],
    [['init', 'x'.repeat(40)], '3 to 39'],
    [['init', 'demo', '--lang', 'perl'], '--lang must be sh, python, node'],
    [['init', 'demo', '--input', 'NO/in'], '--input has to begin with a bucket'],
    [['init', 'demo', '--input', 'same/x', '--output', '/same/x/'], 'different places'],
    [['init', 'demo', '--image', 'a\nb'], '--image must be one line'],
  ])('refuses %j', async (args, said) => {
    const ended = await cli(...args);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(said);
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

describe('an output that cannot be written', () => {
  it.skipIf(!existsSync('/dev/full'))('is said in a line, without a stack trace', () => {
    const full = openSync('/dev/full', 'w');
    try {
      const bin = fileURLToPath(new URL('../../bin/sluice.mjs', import.meta.url));
      for (const args of [['schema'], ['--help'], ['schema', '--json']]) {
        const ended = spawnSync(process.execPath, [bin, ...args], {
          stdio: ['ignore', full, 'pipe'],
          encoding: 'utf8',
        });
        expect(ended.status).toBe(1);
        expect(ended.stderr).toBe(
          'sluice: The output cannot be written: ENOSPC: no space left on device, write.\nIs the disk full?\n',
        );
      }
    } finally {
      closeSync(full);
    }
  });
});

describe('run list of a service that is not there', () => {
  it('exits with 3, unless runs of it are left', async () => {
    const server = await startServer(({ url }, response) => {
      if (url.startsWith('/system/runs?service=deleted')) json(response, { runs: [run()] });
      else if (url.startsWith('/system/runs')) json(response, { runs: [] });
      else if (url.endsWith('/idle')) json(response, { name: 'idle' });
      else text(response, '', 404);
    });
    try {
      const list = (...args: string[]) => cli('run', 'list', ...args, '--url', server.url);
      expect(await list('missing')).toMatchObject({ code: 3, stdout: '' });
      const asJson = await list('missing', '--json');
      expect(asJson.code).toBe(3);
      expect(JSON.parse(asJson.stdout)).toMatchObject({ runs: [], error: { code: 'not_found' } });
      expect((await list('idle')).code).toBe(0);
      expect((await list('deleted')).code).toBe(0);
    } finally {
      await server.close();
    }
  });
});
