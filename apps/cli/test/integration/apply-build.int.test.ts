import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fails, goesWell, startBuilder, type FakeBuilder } from './fake-builder.ts';
import { json, sluice, start, temporary, until, type Answer } from './helpers.ts';

let folder: ReturnType<typeof temporary>;
const servers: FakeBuilder[] = [];
beforeEach(() => {
  folder = temporary();
  write('script.sh', 'true\n');
  write('requirements.txt', 'six==1.17.0\n');
});
afterEach(async () => {
  folder.remove();
  for (const server of servers.splice(0)) await server.close();
});

const write = (name: string, text: string): void => {
  writeFileSync(path.join(folder.path, name), text);
};

async function builder(takeOver?: (...args: Parameters<Answer>) => boolean): Promise<FakeBuilder> {
  const server = await startBuilder(takeOver);
  servers.push(server);
  return server;
}

const built = (name: string, more = ''): string =>
  `name: ${name}, build: {source: "python:3.11-slim", kind: python, file: requirements.txt${more}}`;
function fdl(...services: string[]): void {
  const entries = services.map((service) => `  - local: {script: script.sh, ${service}}`);
  write('fdl.yaml', ['functions:', '  oscar:', ...entries, ''].join('\n'));
}

const options = () => ({
  cwd: folder.path,
  env: { SLUICE_USERNAME: 'anna', SLUICE_PASSWORD: 'secret' },
});
const cli = (server: FakeBuilder, ...args: string[]) => sluice([...args, '--url', server.url], options());
const imageOf = (server: FakeBuilder, name: string): string => String(server.services.get(name)?.['image']);
const target = /anna:one-[0-9a-f]{20}/.source;

describe('apply with build', () => {
  it('builds first, names the image by digest, and builds nothing while nothing changes', async () => {
    const server = await builder();
    fdl(built('one'));
    const first = await cli(server, 'apply', 'fdl.yaml');
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(
      new RegExp(`^\\+ one \\(new\\)  build: python requirements\\.txt → image ${target}\\n$`),
    );
    expect(first.stderr).toBe(
      'one: queued  waits for its turn\none: running  1/3  [2/3] RUN pip install\none: succeeded\n',
    );
    expect(imageOf(server, 'one')).toMatch(new RegExp(`^pull\\.example:5000/${target}@sha256:[0-9a-f]{64}$`));
    expect(server.services.get('one')).not.toHaveProperty('build');
    expect(await cli(server, 'apply', 'fdl.yaml')).toEqual({
      code: 0,
      stdout: '= one unchanged\n',
      stderr: '',
    });
    expect(server.started()).toHaveLength(1);
  });

  it('builds again when the requirements change, or the image is not there any more', async () => {
    const server = await builder();
    fdl(built('one'));
    await cli(server, 'apply', 'fdl.yaml');
    const before = imageOf(server, 'one');
    write('requirements.txt', 'six==1.16.0\n');
    const changed = await cli(server, 'apply', 'fdl.yaml');
    expect(changed.stdout).toMatch(
      /^~ one {2}build: python requirements\.txt → image anna:one-\w+, image pull/,
    );
    expect(imageOf(server, 'one')).not.toBe(before);
    server.images.clear();
    await cli(server, 'apply', 'fdl.yaml');
    expect(server.started()).toHaveLength(3);
  });

  it('asks whether the base has changed with --rebuild, or where the file says so', async () => {
    const server = await builder();
    fdl(built('one'));
    await cli(server, 'apply', 'fdl.yaml');
    const before = imageOf(server, 'one');
    expect((await cli(server, 'apply', '--rebuild', 'fdl.yaml')).stdout).toBe('= one unchanged\n');
    server.base = 'two';
    expect((await cli(server, 'apply', 'fdl.yaml')).stdout).toBe('= one unchanged\n');
    expect((await cli(server, 'apply', '--rebuild', 'fdl.yaml')).stdout).toMatch(/^~ one {2}image pull/);
    expect(imageOf(server, 'one')).not.toBe(before);
    expect(server.started()).toHaveLength(3);
    fdl(built('one', ', rebuild: base'));
    server.base = 'three';
    expect((await cli(server, 'plan', 'fdl.yaml')).stdout).toMatch(
      /^= one unchanged {2}build: python requirements\.txt → image anna:one-\w+ \(again, if its base has changed\)\n$/,
    );
    expect(server.started()).toHaveLength(3);
    expect((await cli(server, 'apply', 'fdl.yaml')).stdout).toMatch(/^~ one {2}image pull/);
    expect(server.started().map((body) => body['force'])).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('builds all at the same time, and leaves a service alone whose build fails', async () => {
    const server = await builder();
    fdl(built('one'), built('two'), 'name: three, image: i');
    server.services.set('two', { name: 'two', image: 'old', script: 'true\n' });
    server.course = [
      // It ends only after the other has begun.
      { says: [{ state: 'running' }, { state: 'running' }, ...(goesWell.says ?? [])] },
      fails,
    ];
    const ended = await cli(server, 'apply', 'fdl.yaml');
    const requests = server.calls();
    const lastStart = requests.lastIndexOf('POST /system/api/v1/build/start');
    const firstWrite = requests.findIndex((call) => call.endsWith('/system/services'));
    expect(lastStart).toBeLessThan(firstWrite);
    const failed = server.started()[1]?.target.split('-')[0]?.split(':')[1] ?? '';
    const well = failed === 'one' ? 'two' : 'one';
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain(
      `! ${failed.padEnd(5)}  its image was not built (failed): requirements_failed: the step [2/3] RUN pip install failed\n` +
        '  | #1 resolve base\n  | #2 ERROR: No matching distribution found for nosuch\n' +
        '  The whole log: sluice build logs build-2\n',
    );
    expect(ended.stdout).toContain('+ three (new)\n');
    expect(imageOf(server, well)).toContain('@sha256:');
    expect(imageOf(server, failed)).toBe(failed === 'two' ? 'old' : 'undefined');
  });

  it('passes on what a server needs that builds nothing, and applies the others', async () => {
    const server = await builder(({ url }, response) => {
      if (!url.startsWith('/system/images') && !url.includes('/build')) return false;
      json(response, { code: 'unavailable', detail: 'It builds no images. Set BUILDKIT_HOST.' }, 503);
      return true;
    });
    fdl(built('one'), 'name: two, image: i');
    const ended = await cli(server, 'apply', 'fdl.yaml');
    expect(ended).toMatchObject({ code: 1, stdout: '+ two (new)\n' });
    expect(ended.stderr).toContain('! one  It builds no images. Set BUILDKIT_HOST.\n');
  });

  it('leaves builds to themselves with Ctrl-C, and says so', async () => {
    const server = await builder();
    server.course = [{ says: [{ state: 'running' }] }];
    fdl(built('one'));
    const running = start(['apply', 'fdl.yaml', '--url', server.url], options());
    await until(() => running.stderr().includes('one: running'), 'the build');
    running.child.kill('SIGINT');
    const ended = await running.ended;
    expect(ended.code).toBe(130);
    expect(ended.stderr).toContain('The build build-1 goes on. Watch it with: sluice build logs -f build-1');
    expect(server.services.size).toBe(0);
  });

  it('is a document for programs', async () => {
    const server = await builder();
    server.course = [goesWell, fails];
    fdl(built('one'));
    const ended = await cli(server, 'apply', 'fdl.yaml', '--json');
    expect(ended.stderr).toBe('');
    expect(JSON.parse(ended.stdout)).toMatchObject({
      services: [
        {
          service: 'one',
          action: 'create',
          build: {
            kind: 'python',
            file: 'requirements.txt',
            target: expect.stringMatching(target) as string,
          },
        },
      ],
    });
    fdl(built('two'));
    const failed = await cli(server, 'apply', 'fdl.yaml', '--json');
    expect(JSON.parse(failed.stdout)).toMatchObject({
      services: [
        {
          service: 'two',
          error: { code: 'requirements_failed' },
          log_tail: ['#1 resolve base', '#2 ERROR: No matching distribution found for nosuch'],
        },
      ],
    });
    expect(failed.code).toBe(1);
  });
});

it('plan shows a build as a change, and starts none', async () => {
  const server = await builder();
  fdl(built('one'));
  const line = new RegExp(`build: python requirements\\.txt → image ${target}`);
  expect((await cli(server, 'plan', 'fdl.yaml')).stdout).toMatch(line);
  server.services.set('one', { name: 'one', image: 'i', script: 'true\n', cluster_id: 'local' });
  const plan = await cli(server, 'plan', 'fdl.yaml');
  expect(plan.stdout).toMatch(new RegExp(`^~ one  ${line.source}\\n$`));
  expect(JSON.parse((await cli(server, 'plan', 'fdl.yaml', '--json')).stdout)).toMatchObject({
    services: [{ action: 'update', build: { kind: 'python' } }],
  });
  expect(server.calls().filter((call) => !call.startsWith('GET'))).toEqual([]);
});

it('apply --watch builds again when the requirements file changes', async () => {
  const server = await builder();
  fdl(built('one'));
  const running = start(['apply', '--watch', 'fdl.yaml', '--url', server.url], options());
  try {
    await until(() => running.stderr().includes('Watching 3 files'), 'the first apply');
    const before = imageOf(server, 'one');
    write('requirements.txt', 'six==1.15.0\n');
    await until(() => imageOf(server, 'one') !== before, 'the new image');
    expect(running.stderr()).toContain('changed: requirements.txt\n');
  } finally {
    running.child.kill('SIGINT');
  }
  expect((await running.ended).code).toBe(0);
});

it('finds faults of a build where they are', async () => {
  const server = await builder();
  fdl('name: one, image: i, build: {source: a, kind: go, file: none.mod}', built('two', ', rebuild: always'));
  const ended = await cli(server, 'apply', 'fdl.yaml');
  expect(ended.code).toBe(2);
  expect(ended.stderr).toBe(
    'fdl.yaml:3:60: functions.oscar[0].local.build: stands in the place of "image"; a service has one of the two\n' +
      'fdl.yaml:3:88: functions.oscar[0].local.build.file: the requirements file none.mod does not exist\n' +
      'fdl.yaml:4:126: functions.oscar[1].local.build.rebuild: must be "base", but is "always"\n',
  );
  expect(server.calls()).toEqual([]);
});
