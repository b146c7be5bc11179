import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '@sluice/shared/errors';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import type { ObjectStore } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { createRunnerServer, createSupervisor } from '@sluice/supervisor';
import { createChildProcessScripts } from '@sluice/supervisor/adapters';
import { createLocalRunners } from '../src/adapters/index.ts';
import type { RunnerHost } from '../src/index.ts';

const away = (): Promise<never> => Promise.reject(new AppError('unavailable', 'there is no store here'));
/** These scripts need no files from elsewhere. */
const objects: Pick<ObjectStore, 'get' | 'head' | 'put'> = { get: away, head: away, put: away };

/** The host of the standalone server: processes, one HTTP listener. */
export async function openProcessRunners(
  limit = 8,
): Promise<{ readonly host: RunnerHost; readonly key: string; close(): Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'sluice-runners-'));
  const log = silentLogger();
  const key = randomBytes(32).toString('base64url');
  const scripts = createChildProcessScripts({ pipeDir: join(root, 'pipes'), graceMs: 200, clock, log });
  const supervisor = createSupervisor({
    objects,
    scripts,
    scriptCacheDir: join(root, 'scripts'),
    baseEnv: { PATH: process.env['PATH'] ?? '' },
    hostName: 'test',
    instance: randomBytes(6).toString('hex'),
    clock,
    log,
  });
  const server = createRunnerServer({
    perform: supervisor.perform,
    key,
    workRoot: join(root, 'work'),
    clock,
    log,
  });
  await server.start();
  const host = createLocalRunners({
    kind: 'process',
    limit,
    server,
    scriptsFor: () => Promise.resolve({ scripts, close: () => Promise.resolve() }),
    log,
  });
  return {
    host,
    key,
    close: async () => {
      await host.close(0);
      await server.stop(0);
      await scripts.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}
