// Starts the registry of a folder anew: `registry-control.ts FOLDER HOST read-only|writable`.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@sluice/shared/testing';

const [folder = '', host = '', mode = ''] = process.argv.slice(2);
const pidFile = join(folder, 'pid');

function isAlive(pid: number): boolean {
  try {
    // A dead one that nobody waited for still has its number.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

if (existsSync(pidFile)) {
  const pid = Number(readFileSync(pidFile, 'utf8'));
  if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  await eventually('the registry to end', () => !isAlive(pid));
}
const registry = spawn('registry', ['serve', join(folder, 'config.yml')], {
  stdio: 'ignore',
  detached: true,
  env: {
    ...process.env,
    OTEL_TRACES_EXPORTER: 'none',
    ...(mode === 'read-only' ? { REGISTRY_STORAGE_MAINTENANCE_READONLY: '{"enabled":true}' } : {}),
  },
});
registry.once('error', () => {
  throw new Error('this test starts a registry of its own: have "registry" (distribution 3) on PATH');
});
registry.unref();
writeFileSync(pidFile, `${registry.pid}`);
await eventually('the registry to answer', async () => {
  if (registry.exitCode !== null) throw new Error(`the registry ended with ${registry.exitCode}`);
  return fetch(`http://${host}/v2/`).then(
    (answer) => answer.ok,
    () => false,
  );
});
