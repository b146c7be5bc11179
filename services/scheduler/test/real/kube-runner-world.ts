import { randomBytes } from 'node:crypto';
import { CoreV1Api, KubeConfig, type V1Pod } from '@kubernetes/client-node';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import {
  createKubeConnection,
  createKubeRunners,
  loadKubeTarget,
  type KubeRunnersDeps,
} from '../../src/adapters/index.ts';
import type { RunnerHost } from '../../src/index.ts';
import { openPodDesk, supervisorImage } from './pod-desk.ts';

export interface KubeRunnerWorld {
  readonly key: string;
  readonly namespace: string;
  readonly core: CoreV1Api;
  /** A host as one replica has it; its pods have real supervisors. */
  host(more?: Partial<KubeRunnersDeps>): RunnerHost;
  pods(): Promise<readonly V1Pod[]>;
  /** Removes what tests have left on purpose. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** A namespace of its own, and a desk where supervisors get their plans. */
export async function kubeRunnerWorld(): Promise<KubeRunnerWorld> {
  const { KUBECONFIG } = process.env;
  if (!KUBECONFIG) {
    throw new Error(
      'this test needs a cluster whose pods reach this machine and are reached from it: set KUBECONFIG',
    );
  }
  const image = await supervisorImage();
  const desk = await openPodDesk();
  const config = new KubeConfig();
  config.loadFromFile(KUBECONFIG);
  const core = config.makeApiClient(CoreV1Api);
  const namespace = `sluice-test-${randomBytes(5).toString('hex')}`;
  const labels = { 'pod-security.kubernetes.io/enforce': 'baseline' };
  await core.createNamespace({ body: { metadata: { name: namespace, labels } } });
  const target = await loadKubeTarget(KUBECONFIG);
  const connection = await createKubeConnection({ target, namespace, clock, random: Math.random });
  const instance = randomBytes(4).toString('hex');
  return {
    key: desk.tokenKey.reveal(),
    namespace,
    core,
    pods: async () => (await core.listNamespacedPod({ namespace })).items,
    host: (more = {}) => {
      const made = createKubeRunners({
        connection,
        settings: { instance, supervisorImage: image, schedulerUrl: desk.url },
        limit: 8,
        key: desk.tokenKey,
        clock,
        random: Math.random,
        log: silentLogger(),
        timing: { healthMs: 200 },
        ...more,
      });
      return {
        ...made,
        start: (plan, reservation) => {
          desk.runners.set(plan.runner_id, plan);
          return made.start(plan, reservation);
        },
      };
    },
    clear: async () => void (await core.deleteCollectionNamespacedPod({ namespace, gracePeriodSeconds: 0 })),
    close: async () => {
      await core.deleteNamespace({ name: namespace, gracePeriodSeconds: 0 });
      await connection.close();
      await desk.close();
    },
  };
}
