import { appendFileSync, closeSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  json,
  start,
  startServer,
  temporary,
  until,
  text,
  type FakeServer,
  type Running,
} from './helpers.ts';

let folder: ReturnType<typeof temporary>;
let server: FakeServer;
let running: Running | undefined;
const stored = new Map<string, { name: string; script: string }>();

beforeEach(async () => {
  folder = temporary();
  stored.clear();
  server = await startServer(({ method, url, body }, response) => {
    if (method === 'GET') {
      const found = stored.get(url.split('/').at(-1) ?? '');
      if (found === undefined) text(response, '', 404);
      else json(response, found);
      return;
    }
    const definition = JSON.parse(body.toString()) as { name: string; script: string };
    stored.set(definition.name, definition);
    response.writeHead(method === 'POST' ? 201 : 204).end();
  });
  writeFileSync(at('a.sh'), 'one\n');
  writeFileSync(at('fdl.yaml'), 'functions: {oscar: [c: {name: a, image: i, script: a.sh}]}\n');
});
afterEach(async () => {
  running?.child.kill('SIGKILL');
  await running?.ended;
  running = undefined;
  await server.close();
  folder.remove();
});

const at = (name: string): string => path.join(folder.path, name);
const writes = (): string[] =>
  server.seen
    .filter(({ method }) => method !== 'GET')
    .map(({ body }) => (JSON.parse(body.toString()) as { script: string }).script);

function watch(...args: string[]): Running {
  running = start(['apply', '--watch', 'fdl.yaml', '--url', server.url, ...args], { cwd: folder.path });
  return running;
}

async function watching(...args: string[]): Promise<Running> {
  const one = watch(...args);
  await until(() => one.stderr().includes('Watching 2 files'), 'the first apply');
  return one;
}

describe('apply --watch', () => {
  it('applies each change of a script or a file, and ends cleanly with Ctrl-C', async () => {
    const one = await watching();
    expect(one.stdout()).toBe('+ a (new)\n');
    writeFileSync(at('a.sh'), 'two\nlines\n');
    await until(() => writes().length === 2, 'the new script');
    // As editors do it: a new file in the place of the old one.
    writeFileSync(at('.fdl.yaml.swp'), 'functions: {oscar: [c: {name: a, image: j, script: a.sh}]}\n');
    renameSync(at('.fdl.yaml.swp'), at('fdl.yaml'));
    await until(() => writes().length === 3, 'the new definition');
    await until(() => one.stdout().split('\n').length === 4, 'the last line');
    expect(one.stdout()).toBe('+ a (new)\n~ a  script changed (1 line → 2 lines)\n~ a  image i → j\n');
    expect(one.stderr()).toContain('changed: a.sh\n');
    expect(one.stderr()).toContain('changed: fdl.yaml\n');
    one.child.kill('SIGINT');
    expect((await one.ended).code).toBe(0);
  });

  it('goes on after faults, and with a file that was away', async () => {
    const one = await watching();
    writeFileSync(at('fdl.yaml'), 'functions: {oscar: [c: {name: [a], image: i, script: a.sh}]}\n');
    await until(() => one.stderr().includes('name: must be text'), 'the fault');
    rmSync(at('fdl.yaml'));
    await until(() => one.stderr().includes('does not exist'), 'the missing file');
    writeFileSync(at('fdl.yaml'), 'functions: {oscar: [c: {name: b, image: i, script: a.sh}]}\n');
    await until(() => stored.has('b'), 'the mended file');
    expect(one.child.exitCode).toBeNull();
  });

  it('never sends a file that is being written', async () => {
    await watching();
    const handle = openSync(at('a.sh'), 'w');
    try {
      // In pieces, with pauses shorter than it takes a file to count as written.
      let pieces = 0;
      while (pieces < 12) {
        appendFileSync(handle, `piece ${(pieces += 1)}\n`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    } finally {
      closeSync(handle);
    }
    await until(() => writes().length === 2, 'the whole file');
    expect(writes()[1]?.split('\n')).toHaveLength(13);
  });

  it('begins with a file that is at fault, and writes a line of JSON for each time', async () => {
    writeFileSync(at('fdl.yaml'), 'functions: {oscar: [c: {name: a, image: i, script: later.sh}]}\n');
    const one = watch('--json');
    await until(() => one.stdout().includes('\n'), 'the fault');
    writeFileSync(at('later.sh'), 'true\n');
    await until(() => one.stdout().split('\n').length === 3, 'the service');
    const [fault, done] = one
      .stdout()
      .split('\n')
      .map((line) => (line === '' ? {} : (JSON.parse(line) as object)));
    expect(fault).toMatchObject({ error: { code: 'invalid_fdl' } });
    expect(done).toMatchObject({ services: [{ service: 'a', action: 'create' }] });
    one.child.kill('SIGTERM');
    expect((await one.ended).code).toBe(143);
  });

  it('does not take standard input', async () => {
    const ended = await start(['apply', '--watch', '-', '--url', server.url]).ended;
    expect(ended.code).toBe(2);
  });
});
