import { randomBytes } from 'node:crypto';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { afterAll, beforeAll } from 'vitest';
import { createKubeExecutor } from '../../src/adapters/index.ts';
import { describeExecutor, type ExecutorHarness } from '../executor.suite.ts';
import { kubeWorld, type KubeWorld } from './kube-world.ts';
import { openPodDesk, supervisorImage, type PodDesk } from './pod-desk.ts';

/* What every executor keeps to, by real Jobs with the real supervisor beside the script. */

let world: KubeWorld;
let desk: PodDesk;
let image: string;

beforeAll(async () => {
  image = await supervisorImage();
  [world, desk] = await Promise.all([kubeWorld('baseline'), openPodDesk()]);
}, 600_000);
afterAll(async () => {
  await Promise.all([world.close(), desk.close()]);
});

describeExecutor('Jobs', async (): Promise<ExecutorHarness> => {
  const executor = createKubeExecutor({
    connection: world.connection,
    settings: {
      instance: randomBytes(4).toString('hex'),
      supervisorImage: image,
      schedulerUrl: desk.url,
      graceSeconds: 2,
    },
    slots: 10,
    tokenKey: desk.tokenKey,
    standingOf: desk.standingOf,
    readOutcome: desk.readOutcome,
    note: () => Promise.resolve(),
    clock,
    random: Math.random,
    log: silentLogger(),
    timing: { tickMs: 500 },
  });
  executor.onReport(desk.report);
  // There is room once it has seen the cluster.
  await executor.attempts();
  return {
    executor: {
      ...executor,
      start: (plan, reservation, run) => {
        desk.attempts.set(`${plan.run_id}.${plan.attempt}`, plan);
        return executor.start(plan, reservation, run);
      },
      cancel: (ref, reason) => {
        desk.noteCancel(ref, reason);
        return executor.cancel(ref, reason);
      },
      // What its pods report is heard at the desk.
      onReport: desk.onReport,
    },
    close: async () => {
      await executor.stop(1000);
      const { namespace } = world;
      await world.batch.deleteCollectionNamespacedJob({ namespace, propagationPolicy: 'Background' });
      await world.core.deleteCollectionNamespacedPod({ namespace, gracePeriodSeconds: 0 });
    },
  };
});
