// Run while an image is built: compiles what the components and the client load, so that their starts find it in NODE_COMPILE_CACHE, which cannot be written once the
// image runs. Node keeps one cache for each user, so it is filled as each user that the image is started under: `node tools/fill-compile-cache.mjs 10001 0`.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What is loaded on demand, and so not by the entries. */
const packages = [
  '@kubernetes/client-node',
  '@nats-io/jetstream',
  '@nats-io/kv',
  '@nats-io/transport-node',
  'dockerode',
  'ioredis',
  'minio',
  'undici',
];
const entries = [
  '../apps/distributed/src/start.ts',
  '../apps/cli/src/main.ts',
  '../apps/cli/src/commands/doctor.ts',
];
const self = fileURLToPath(import.meta.url);
const users = process.argv.slice(2);
if (users.length === 0) {
  for (const one of [...packages, ...entries]) await import(one);
}
for (const user of users) {
  const id = Number(user);
  const { status } = spawnSync(process.execPath, [self], { uid: id, gid: id, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
