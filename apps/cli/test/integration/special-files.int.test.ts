import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sluice, start, temporary, until } from './helpers.ts';

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

  it('a named pipe that nobody writes to is given up at the second Ctrl-C', async () => {
    const file = pipe('in');
    const waiting = start(['plan', file]);
    const writer = await silentWriter(file);
    const press = setInterval(() => waiting.child.kill('SIGINT'), 50);
    await waiting.ended;
    clearInterval(press);
    closeSync(writer);
    // The second one is the system's: the client waits for the pipe even to exit.
    expect([130, 'SIGINT']).toContain(waiting.child.exitCode ?? waiting.child.signalCode);
  });
});
