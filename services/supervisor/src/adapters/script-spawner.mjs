// A small process that starts scripts for a big one. Starting a process copies the page tables of its parent: measured
// 1.4 ms from a process of 45 MB and 4.5 ms from one of 105 MB, all of it with the event loop standing still. It is plain
// JavaScript without imports of its own, so that it stays small, and it is the scripts' guardian: when its parent goes, however
// that happens, it kills what it started.
//
// In, one JSON a line: {"id","program","args","env","cwd","output"} starts a script in a process group of its own with standard output and
// error on the FIFO `output`.
// Out, one JSON a line: {"id","pid"} | {"id","error"}, then {"id","code","signal"} when the script itself has ended.
// {"ping":true} is answered with {"pong":true}: a script may have stopped its parent (`kill -STOP $PPID`).
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';

/** @type {Map<number, import('node:child_process').ChildProcess>} */
const running = new Map();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The group is gone already.
  }
}

/** Opening a FIFO for writing waits for a reader, for ever if that has just died: a reader of our own makes sure that there is one. */
function openForWriting(path) {
  const reader = openSync(path, constants.O_RDWR);
  try {
    return openSync(path, constants.O_WRONLY);
  } finally {
    closeSync(reader);
  }
}

function start({ id, program, args, env, cwd, output }) {
  let fd;
  let child;
  try {
    fd = openForWriting(output);
    child = spawn(program, args, { env, cwd, detached: true, stdio: ['ignore', fd, fd] });
  } catch (error) {
    say({ id, error: error.code ?? error.message });
    return;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  child.once('error', (error) => {
    if (child.pid === undefined) say({ id, error: error.code ?? error.message });
  });
  if (child.pid === undefined) return;
  running.set(id, child);
  say({ id, pid: child.pid });
  child.once('exit', (code, signal) => {
    running.delete(id);
    say({ id, code, signal });
  });
}

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop();
  for (const line of lines) {
    const request = JSON.parse(line);
    if (request.ping === true) say({ pong: true });
    else start(request);
  }
});
function leave() {
  for (const child of running.values()) signalGroup(child, 'SIGKILL');
  process.exit(0);
}
process.stdin.on('end', leave);
process.stdin.on('error', leave);
process.stdout.on('error', leave);
