import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalExecutor } from '@sluice/scheduler/adapters';
import {
  createFolderObjectStore,
  createFolderRunLogs,
  createPresigner,
  createSqliteObjectIndex,
  openDatabase,
} from '@sluice/shared/adapters';
import { Secret } from '@sluice/shared/config';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { createSupervisor } from '@sluice/supervisor';
import { createContainerScripts, openContainerHost, parseEngineAddress } from '@sluice/supervisor/adapters';
import { describeExecutor, type ExecutorHarness } from '../executor.suite.ts';

/** The suite's services name the image `busybox`. */
async function make(): Promise<ExecutorHarness> {
  const { DOCKER_HOST } = process.env;
  if (!DOCKER_HOST) {
    throw new Error(
      'this test needs a Docker or Podman engine that can pull busybox: set DOCKER_HOST (unix:///path)',
    );
  }
  const root = await mkdtemp(join(tmpdir(), 'sluice-executor-'));
  await mkdir(join(root, 'work'));
  const log = silentLogger();
  const instance = randomBytes(6).toString('hex');
  const host = await openContainerHost({
    address: parseEngineAddress(DOCKER_HOST),
    instance,
    user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    loginsDir: root,
    graceMs: 1000,
    clock,
    log,
  });
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
  const supervisor = createSupervisor({
    objects,
    scripts: createContainerScripts(host),
    scriptCacheDir: join(root, 'scripts'),
    baseEnv: {},
    hostName: 'test',
    instance,
    clock,
    log,
  });
  const executor = createLocalExecutor({
    kind: 'container',
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
      const left = await host.engine.list(`sluice.instance=${instance}`);
      await host.removeLeftovers();
      await host.close();
      await objects.close();
      await db.close();
      await rm(root, { recursive: true, force: true });
      if (left.length > 0) throw new Error(`${left.length} containers were left`);
    },
  };
}

describeExecutor('containers', make);
