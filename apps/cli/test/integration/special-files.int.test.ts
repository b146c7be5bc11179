import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { json, sluice, start, startServer, temporary, until } from './helpers.ts';

/** It tells what files a process has open. */
const linux = process.platform === 'linux';

let folder: ReturnType<typeof temporary>;
beforeEach(() => {
  folder = temporary();
});
afterEach(() => {
  folder.remove();
});

function pipe(name: string): string {
  const file = path.join(folder.path, name);
  execFileSync('mkfifo', [file]);
  return file;
}

/** The other end of a named pipe, once somebody reads from it; nothing is ever written. */
async function silentWriter(file: string): Promise<number> {
  let descriptor = -1;
  await until(() => {
    try {
      descriptor = openSync(file, constants.O_WRONLY | constants.O_NONBLOCK);
      return true;
    } catch {
      return false;
    }
  }, 'the pipe is read');
  return descriptor;
}

describe('files that are no files', () => {
  it('a named pipe as script is refused and not waited for', async () => {
    pipe('script.sh');
    writeFileSync(
      path.join(folder.path, 'f.yaml'),
      'functions: {oscar: [{c: {name: demo, image: x, script: script.sh}}]}',
    );
    const ended = await sluice(['plan', 'f.yaml'], { cwd: folder.path });
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain('the script script.sh is not a regular file');
  });

  it('an endless device as FDL file is too large', async () => {
    const ended = await sluice(['plan', '/dev/zero']);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain('is too large for an FDL file');
  });

  it.each([
    ['plan', (file: string) => ['plan', file]],
    ['call', (file: string) => ['call', 'demo', file]],
    ['submit', (file: string) => ['submit', 'demo', file]],
  ])('%s waits for a named pipe, and ends at the first Ctrl-C', async (_, args) => {
    const file = pipe('in');
    const waiting = start(args(file));
    const writer = await silentWriter(file);
    waiting.child.kill('SIGINT');
    await waiting.ended;
    closeSync(writer);
    expect(waiting.child.exitCode).toBe(130);
  });

  it.runIf(linux)('a pipe whose other end nobody has opened is given up as well', async () => {
    const file = pipe('in');
    const waiting = start(['plan', file]);
    await until(() => isOpenIn(waiting.child.pid, file), 'the pipe is open');
    waiting.child.kill('SIGINT');
    await waiting.ended;
    expect(waiting.child.exitCode).toBe(130);
  });

  it.runIf(linux)('an FDL file may come out of a pipe, however late', async () => {
    const file = pipe('in');
    const waiting = start(['plan', file]);
    await until(() => isOpenIn(waiting.child.pid, file), 'the pipe is open');
    writeFileSync(file, 'functions: nonsense\n');
    const { code, stderr } = await waiting.ended;
    expect(code).toBe(2);
    expect(stderr).toContain(`${file}:1:`);
  });

  it('a named pipe as configuration or certificate is refused and not waited for', async () => {
    mkdirSync(path.join(folder.path, 'sluice'));
    const config = pipe('sluice/config.yaml');
    const listed = await sluice(['service', 'list'], { env: { XDG_CONFIG_HOME: folder.path } });
    expect(listed).toMatchObject({ code: 2, stdout: '' });
    expect(listed.stderr).toContain(`${config} cannot be read: it is not a regular file`);
    const ca = pipe('ca.pem');
    const login = await sluice(['login', 'https://127.0.0.1:1', '--ca-file', ca, '--password-stdin']);
    expect(login).toMatchObject({ code: 2, stdout: '' });
    expect(login.stderr).toContain(`${ca} cannot be read: it is not a regular file`);
  });

  it.runIf(linux)(
    'a password may come out of a pipe; one that nobody writes to is not waited for',
    async () => {
      const server = await startServer((_, response) => json(response, []));
      const env = { SLUICE_URL: server.url, SLUICE_PASSWORD_FILE: pipe('password') };
      const none = await sluice(['service', 'list'], { env });
      expect(none).toMatchObject({ code: 2, stdout: '' });
      expect(none.stderr).toContain('nothing came out of the pipe');
      const read = openSync(env.SLUICE_PASSWORD_FILE, constants.O_RDWR);
      writeSync(read, 's3cret\n');
      const listing = start(['service', 'list'], { env });
      await until(() => isOpenIn(listing.child.pid, env.SLUICE_PASSWORD_FILE), 'the pipe is open');
      closeSync(read);
      expect(await listing.ended).toMatchObject({ code: 0 });
      expect(server.seen[0]?.headers.authorization).toBe(
        `Basic ${Buffer.from('oscar:s3cret').toString('base64')}`,
      );
      await server.close();
    },
  );
});

/** Whether a process has a file open. */
function isOpenIn(pid: number | undefined, file: string): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((name) => readlinkSync(`${folder}/${name}`) === file);
  } catch {
    // A descriptor that was closed meanwhile.
    return false;
  }
}
