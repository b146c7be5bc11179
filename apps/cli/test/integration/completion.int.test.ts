import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { json, run, sluice, startServer, temporary, type FakeServer } from './helpers.ts';

const bin = fileURLToPath(new URL('../../bin/sluice.mjs', import.meta.url));

let folder: ReturnType<typeof temporary>;
let server: FakeServer;
beforeEach(async () => {
  folder = temporary();
  server = await startServer(({ url }, response) => {
    if (url === '/system/services') json(response, [{ name: 'thumbnail' }, { name: 'word-count' }]);
    else if (url.startsWith('/system/runs')) json(response, { runs: [run({ id: 'thumbnail-1' })] });
    else if (url.startsWith('/system/builds')) json(response, { builds: [{ id: 'b-1', state: 'running' }] });
    else if (url === '/system/images')
      json(response, { images: [{ tag: 'python-1', image: 'i', digest: 'sha256:a' }] });
    else json(response, [{ bucket_name: 'photos' }]);
  });
});
afterEach(async () => {
  folder.remove();
  await server.close();
});

/** What a real bash offers at the end of a line. */
async function bash(line: string, url = server.url): Promise<string[]> {
  const { stdout } = await sluice(['completion', 'bash']);
  const script = path.join(folder.path, 'completion.bash');
  writeFileSync(script, stdout);
  const program = `sluice() { "$NODE" "$BIN" "$@"; }
source "$SCRIPT"
complete -p sluice >/dev/null || exit 9
COMP_LINE=$1 COMP_POINT=\${#1}
_sluice sluice
[ \${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' "\${COMPREPLY[@]}"`;
  const env = {
    PATH: process.env['PATH'],
    NODE: process.execPath,
    BIN: bin,
    SCRIPT: script,
    SLUICE_URL: url,
    SLUICE_DATA: '/nonexistent',
    XDG_CONFIG_HOME: folder.path,
  };
  // Not spawnSync: the server is in this process.
  const child = spawn('bash', ['--noprofile', '--norc', '-c', program, 'bash', line], {
    cwd: folder.path,
    env,
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out
    .split('\n')
    .filter((word) => word !== '')
    .toSorted();
}

describe('bash', () => {
  it.each([
    ['sluice pl', ['plan']],
    ['sluice run ', ['cancel', 'list', 'logs', 'retry', 'show']],
    ['sluice run ls --st', ['--state']],
    ['sluice run list --state su', ['succeeded', 'superseded']],
    ['sluice --timeout 5s run list --state=fa', ['failed']],
    ['sluice build list --state can', ['cancelled']],
    ['sluice build start --kind no', ['nodejs']],
    ['sluice image ', ['delete', 'list', 'prune', 'show']],
    ['sluice completion ', ['bash', 'fish', 'zsh']],
    ['sluice init x --lang ', ['node', 'python', 'sh']],
    ['sluice __', []],
    ['sluice status ', []],
    ['sluice --url ', []],
  ])('completes %j', async (line, expected) => {
    expect(await bash(line)).toEqual(expected);
  });

  it('offers the names that the server has', async () => {
    expect(await bash('sluice service show ')).toEqual(['thumbnail', 'word-count']);
    expect(await bash('sluice service rm thumbnail wo')).toEqual(['word-count']);
    expect(await bash('sluice call th')).toEqual(['thumbnail']);
    expect(await bash('sluice run logs -f ')).toEqual(['thumbnail-1']);
    expect(await bash('sluice build logs -f ')).toEqual(['b-1']);
    expect(await bash('sluice image rm py')).toEqual(['python-1']);
    expect(await bash('sluice file ls ph')).toEqual(['photos/']);
    // The server that the line names.
    const before = server.seen.length;
    expect(await bash(`sluice --url ${server.url} submit w`, 'http://127.0.0.1:1')).toEqual(['word-count']);
    expect(await bash(`sluice submit --url=${server.url} w`, 'http://127.0.0.1:1')).toEqual(['word-count']);
    expect(server.seen.length).toBe(before + 2);
  });

  it('offers files, and profiles', async () => {
    mkdirSync(path.join(folder.path, 'some folder'));
    writeFileSync(path.join(folder.path, 'some file.yaml'), '');
    expect(await bash('sluice apply som')).toEqual(['some file.yaml', 'some folder']);
    expect(await bash('sluice call thumbnail som')).toEqual(['some file.yaml', 'some folder']);
    expect(await bash('sluice init --dir som')).toEqual(['some folder']);
    expect(await bash('sluice file put som')).toEqual(['some file.yaml', 'some folder']);
    expect(await bash('sluice file put x pho')).toEqual(['photos/']);
    mkdirSync(path.join(folder.path, 'sluice'));
    writeFileSync(
      path.join(folder.path, 'sluice/config.yaml'),
      'profiles: {prod: {url: "http://p"}, test: {url: "http://t"}}',
    );
    expect(await bash('sluice status --profile p')).toEqual(['prod']);
    expect(await bash('sluice profile use ')).toEqual(['prod', 'test']);
  });

  it('is silent where no server answers', async () => {
    expect(await bash('sluice service show ', 'http://127.0.0.1:1')).toEqual([]);
    const done = await sluice(['__complete', 'services'], { env: { SLUICE_URL: 'ftp://wrong' } });
    expect(done).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

describe('the scripts', () => {
  it.each(['bash', 'zsh', 'fish'])(
    'of %s is one that the shell reads, and knows every command',
    async (shell) => {
      const { stdout, code } = await sluice(['completion', shell]);
      expect(code).toBe(0);
      for (const word of ['init', 'apply', 'dead-letter', 'redrive']) expect(stdout).toContain(word);
      expect(stdout).not.toContain('undefined');
      const check = spawnSync(shell, ['-n'], { input: stdout, encoding: 'utf8' });
      if (check.error === undefined) expect(check).toMatchObject({ status: 0, stderr: '' });
      else expect(unbalanced(stdout, shell)).toEqual([]);
    },
  );

  it('has none for another shell', async () => {
    expect((await sluice(['completion', 'csh'])).code).toBe(2);
  });
});

/** For a shell that is not on this machine: quotes and blocks that do not close. */
function unbalanced(script: string, shell: string): string[] {
  // Bash reads zsh's words and quotes as zsh does; what only zsh has is in expansions.
  if (shell === 'zsh') {
    const plain = script.replaceAll(/\$\{[^}]*\}/g, 'x').replaceAll(/\$\(\(.*?\)\)/g, '1');
    const { stderr } = spawnSync('bash', ['-n'], { input: plain, encoding: 'utf8' });
    return stderr === '' ? [] : [stderr];
  }
  const bare = script.replaceAll(/#.*$/gm, '').replaceAll(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/g, 'x');
  const opened = bare.match(/^\s*(?:function|for|if|switch)\b/gm)?.length ?? 0;
  const closed = bare.match(/^\s*end\b/gm)?.length ?? 0;
  const quotes = bare.match(/['"]/g) ?? [];
  return [...(opened === closed ? [] : [`${opened} blocks, ${closed} ends`]), ...quotes];
}

it('is made from the commands that there are: no option without a place in it', async () => {
  const { stdout } = await sluice(['completion', 'bash']);
  const helps = ['apply', 'call', 'file put', 'run list', 'login'].map((command) =>
    execFileSync(process.execPath, [bin, ...command.split(' '), '--help'], { encoding: 'utf8' }),
  );
  const options = new Set(helps.flatMap((help) => help.match(/(?<=\s)--[a-z][a-z-]+/g) ?? []));
  expect(options.size).toBeGreaterThan(15);
  for (const option of options) expect(stdout).toContain(option);
});
