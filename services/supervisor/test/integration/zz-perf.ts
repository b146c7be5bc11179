import { spawn } from 'node:child_process';
import { writeFileSync, mkdirSync, rmdirSync, unlinkSync, open, writeSync, closeSync } from 'node:fs';
import { mkdir, rmdir, unlink, writeFile } from 'node:fs/promises';
import { createMemoryStore } from './memory-store.ts';
import { createHarness } from './support.ts';
const store = createMemoryStore();
const h = createHarness(store);
const fake = createHarness(store, {
  scripts: {
    run: async (r) => {
      r.onStarted();
      return { kind: 'exited', exitCode: 0 };
    },
  },
});
writeFileSync('/tmp/sup-exp/t.sh', 'true\n');
const bare = () =>
  new Promise<void>((r) => {
    spawn('/bin/sh', ['/tmp/sup-exp/t.sh'], { stdio: 'ignore' }).on('exit', () => r());
  });
let c = 0;
const dirsSync = async () => {
  const w = `${h.dir}/x${c++}`;
  mkdirSync(w);
  mkdirSync(w + '/i');
  mkdirSync(w + '/o');
  await new Promise(setImmediate);
  rmdirSync(w + '/i');
  rmdirSync(w + '/o');
  rmdirSync(w);
};
const dirsAsync = async () => {
  const w = `${h.dir}/x${c++}`;
  await mkdir(w);
  await mkdir(w + '/i');
  await mkdir(w + '/o');
  await rmdir(w + '/i');
  await rmdir(w + '/o');
  await rmdir(w);
};
async function bench(name: string, fn: () => Promise<unknown>, n: number, conc: number) {
  for (let i = 0; i < 20; i++) await fn();
  const t = performance.now(),
    u = process.cpuUsage(),
    el = performance.eventLoopUtilization();
  await Promise.all(
    Array.from({ length: conc }, async () => {
      for (let i = 0; i < n / conc; i++) await fn();
    }),
  );
  const e = performance.now() - t,
    v = process.cpuUsage(u);
  console.log(
    name.padEnd(28),
    ((n / e) * 1000).toFixed(0).padStart(5),
    'per s,',
    (e / n).toFixed(2),
    'ms, own cpu',
    ((v.user + v.system) / 1000 / n).toFixed(2),
    'loop',
    performance.eventLoopUtilization(el).utilization.toFixed(2),
  );
}

const fSync = async () => {
  const w = `${h.dir}/f${c++}`;
  writeFileSync(w, 'abc');
  await new Promise(setImmediate);
  unlinkSync(w);
};
const fAsync = async () => {
  const w = `${h.dir}/f${c++}`;
  await writeFile(w, 'abc');
  await unlink(w);
};
const openCb = (w: string) =>
  new Promise<number>((res, rej) => open(w, 'wx', (e, fd) => (e ? rej(e) : res(fd))));
const fMixed = async () => {
  const w = `${h.dir}/f${c++}`;
  const fd = await openCb(w);
  writeSync(fd, 'abc');
  closeSync(fd);
  await unlink(w);
};
for (let k = 0; k < 3; k++) {
  await bench("perform, no process, 4", () => fake.perform(), 6000, 4); continue;
  await bench('3 dirs sync, 4', dirsSync, 800, 4);
  await bench('3 dirs async, 4', dirsAsync, 800, 4);
  await bench('file sync', fSync, 800, 4);
  await bench('file async', fAsync, 800, 4);
  await bench('file mixed', fMixed, 800, 4);
}
await h.close();
await fake.close();
