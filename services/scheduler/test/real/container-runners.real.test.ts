import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalRunners } from '@sluice/scheduler/adapters';
import { AppError } from '@sluice/shared/errors';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import type { ObjectStore } from '@sluice/shared/stores';
import { silentLogger } from '@sluice/shared/telemetry';
import { createRunnerServer, createSupervisor } from '@sluice/supervisor';
import {
  createContainerScripts,
  openContainerHost,
  openWarmContainer,
  parseEngineAddress,
} from '@sluice/supervisor/adapters';
import { describeRunnerHost, type RunnerHostHarness } from '../runner-host.suite.ts';

const away = (): Promise<never> => Promise.reject(new AppError('unavailable', 'there is no store here'));
/** These scripts need no files from elsewhere. */
const objects: Pick<ObjectStore, 'get' | 'head' | 'put'> = { get: away, head: away, put: away };

/** The suite's services name the image `busybox`. */
async function make(): Promise<RunnerHostHarness> {
  const { DOCKER_HOST } = process.env;
  if (!DOCKER_HOST) {
    throw new Error(
      'this test needs a Docker or Podman engine that can pull busybox: set DOCKER_HOST (unix:///path)',
    );
  }
  const root = await mkdtemp(join(tmpdir(), 'sluice-runners-'));
  const log = silentLogger();
  const key = randomBytes(32).toString('base64url');
  const instance = randomBytes(6).toString('hex');
  const containers = await openContainerHost({
    address: parseEngineAddress(DOCKER_HOST),
    instance,
    user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    loginsDir: root,
    graceMs: 1000,
    clock,
    log,
  });
  const supervisor = createSupervisor({
    objects,
    scripts: createContainerScripts(containers),
    scriptCacheDir: join(root, 'scripts'),
    baseEnv: {},
    hostName: 'test',
    instance,
    clock,
    log,
  });
  const workRoot = join(root, 'work');
  const server = createRunnerServer({ perform: supervisor.perform, key, workRoot, clock, log });
  await server.start();
  const host = createLocalRunners({
    kind: 'container',
    limit: 8,
    server,
    scriptsFor: async (plan, control) =>
      openWarmContainer(containers, plan, { workDir: join(workRoot, plan.runner_id), ...control }),
    log,
  });
  return {
    host,
    key,
    close: async () => {
      await host.close(0);
      await server.stop(0);
      const left = await containers.engine.list(`sluice.instance=${instance}`);
      await containers.removeLeftovers();
      await containers.close();
      await rm(root, { recursive: true, force: true });
      if (left.length > 0) throw new Error(`${left.length} containers were left`);
    },
  };
}

describeRunnerHost('containers', make);
