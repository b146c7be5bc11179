import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalExecutor } from '@sluice/scheduler/adapters';
import { Secret } from '@sluice/shared/config';
import {
  createFolderObjectStore,
  createFolderRunLogs,
  createPresigner,
  createSqliteObjectIndex,
  openDatabase,
} from '@sluice/shared/adapters';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { createSupervisor } from '@sluice/supervisor';
import { createChildProcessScripts } from '@sluice/supervisor/adapters';
import { describeExecutor, type ExecutorHarness } from '../executor.suite.ts';

async function make(): Promise<ExecutorHarness> {
  const root = await mkdtemp(join(tmpdir(), 'sluice-executor-'));
  await mkdir(join(root, 'work'));
  const log = silentLogger();
  const db = openDatabase({ path: join(root, 'sluice.db'), clock, log });
  const objects = await createFolderObjectStore({
    bucketsRoot: join(root, 'buckets'),
    systemRoot: join(root, 'system'),
    tempRoot: join(root, 'tmp'),
    index: createSqliteObjectIndex(db),
    clock,
    log,
    presign: createPresigner({ key: new Secret('key'), baseUrl: () => '', clock }),
  });
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
  const executor = createLocalExecutor({
    kind: 'process',
    perform: supervisor.perform,
    logs: createFolderRunLogs({ root: join(root, 'logs'), clock }),
    workRoot: join(root, 'work'),
    capacity: { cpuMillis: 1000, memoryBytes: 2 ** 30 },
    slots: 4,
    clock,
    log,
  });
  return {
    executor,
    close: async () => {
      await executor.stop(0);
      await scripts.stop();
      await objects.close();
      await db.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

describeExecutor('processes', make);
