import { randomBytes } from 'node:crypto';
import { BatchV1Api, CoreV1Api, KubeConfig, type V1Job, type V1Pod } from '@kubernetes/client-node';
import {
  createKubeConnection,
  createKubeExecutor,
  loadKubeTarget,
  type AttemptStanding,
  type KubeConnection,
  type KubeExecutorDeps,
} from '@sluice/scheduler/adapters';
import type { Executor } from '@sluice/scheduler';
import type { AttemptOutcome, AttemptPlan, AttemptRef, AttemptReport } from '@sluice/shared/contracts';
import { Secret } from '@sluice/shared/config';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { eventually } from '@sluice/shared/testing';

export interface KubeWorld {
  readonly namespace: string;
  readonly core: CoreV1Api;
  readonly batch: BatchV1Api;
  readonly connection: KubeConnection;
  jobs(): Promise<readonly V1Job[]>;
  pods(): Promise<readonly V1Pod[]>;
  close(): Promise<void>;
}

/** A namespace of its own on the cluster that KUBECONFIG names, in which a level of the Pod Security Standards is enforced. */
export async function kubeWorld(level: 'baseline' | 'restricted'): Promise<KubeWorld> {
  const file = process.env['KUBECONFIG'];
  if (file === undefined) throw new Error('set KUBECONFIG to the configuration of a cluster to test on');
  const config = new KubeConfig();
  config.loadFromFile(file);
  const core = config.makeApiClient(CoreV1Api);
  const batch = config.makeApiClient(BatchV1Api);
  const namespace = `sluice-test-${randomBytes(5).toString('hex')}`;
  const labels = { 'pod-security.kubernetes.io/enforce': level };
  await core.createNamespace({ body: { metadata: { name: namespace, labels } } });
  const target = await loadKubeTarget(file);
  const connection = await createKubeConnection({ target, namespace, clock, random: Math.random });
  return {
    namespace,
    core,
    batch,
    connection,
    jobs: async () => (await batch.listNamespacedJob({ namespace })).items,
    pods: async () => (await core.listNamespacedPod({ namespace })).items,
    close: async () => {
      await connection.close();
      await core.deleteNamespace({ name: namespace, gracePeriodSeconds: 0 });
    },
  };
}

/** What a supervisor's image of its own would do, without one: nothing, until it is asked to end. */
const idle = 'trap "exit 0" TERM; while :; do sleep 1 & wait $!; done';

export interface Bench {
  readonly executor: Executor & ReturnType<typeof createKubeExecutor>;
  readonly reports: AttemptReport[];
  readonly notes: string[];
  start(plan: AttemptPlan): Promise<AttemptPlan>;
  outcomeOf(plan: AttemptPlan, timeoutMs?: number): Promise<AttemptOutcome>;
}

/** What all replicas of one installation share. */
export interface Shared {
  readonly instance: string;
  /** As a ledger would have it; `starting` where nothing else is said. */
  readonly standing: Map<string, AttemptStanding>;
}

export function sharedBench(): Shared {
  return { instance: randomBytes(4).toString('hex'), standing: new Map() };
}

export function keyOf(ref: AttemptRef): string {
  return `${ref.run_id}.${ref.attempt}`;
}

/**
 * An executor whose Jobs run the plan's script as their main container and an idle supervisor beside it, so that what the executor sees is the cluster's own doing.
 * @param shell what the image has for a shell
 */
export function bench(
  world: KubeWorld,
  shared: Shared,
  more: Partial<KubeExecutorDeps> & { readonly shell?: string } = {},
): Bench {
  const { shell = '/bin/sh', ...deps } = more;
  const scripts = new Map<string, string>();
  const reports: AttemptReport[] = [];
  const notes: string[] = [];
  const connection: KubeConnection = {
    ...world.connection,
    create: (resource, object) => {
      const job = structuredClone(object) as V1Job;
      const pod = job.spec?.template.spec;
      const [supervisor] = pod?.initContainers ?? [];
      const [main] = pod?.containers ?? [];
      if (supervisor !== undefined) supervisor.command = ['/bin/sh', '-c', idle];
      if (main !== undefined) {
        main.command = [shell, '-c', scripts.get(job.metadata?.labels?.['sluice.internal/run'] ?? '') ?? ''];
      }
      return world.connection.create(resource, job);
    },
  };
  const executor = createKubeExecutor({
    connection,
    settings: {
      instance: shared.instance,
      supervisorImage: 'busybox',
      schedulerUrl: 'http://scheduler.invalid',
      supervisorResources: { requests: { cpu: '1m', memory: '8Mi' }, limits: { cpu: '1', memory: '32Mi' } },
      graceSeconds: 1,
    },
    slots: 10,
    tokenKey: new Secret('k'.repeat(32)),
    standingOf: (ref) => Promise.resolve(shared.standing.get(keyOf(ref)) ?? 'starting'),
    readOutcome: () => Promise.resolve(undefined),
    note: (_ref, message) => {
      notes.push(message);
      return Promise.resolve();
    },
    clock,
    random: Math.random,
    log: silentLogger(),
    timing: { graceMs: 500, tickMs: 300, pendingMs: 1000, orphanMs: 2000 },
    ...deps,
  });
  executor.onReport((report) => {
    reports.push(report);
    if (report.kind === 'finished') shared.standing.set(keyOf(report), 'over');
    return Promise.resolve();
  });
  return {
    executor,
    reports,
    notes,
    start: async (plan) => {
      scripts.set(plan.run_id, plan.script);
      const reservation = await eventually('room', () => executor.reserve({ cpuMillis: 1, memoryBytes: 1 }));
      await executor.start(plan, reservation);
      return plan;
    },
    outcomeOf: async (plan, timeoutMs = 60_000) => {
      const find = (): AttemptReport | undefined =>
        reports.find((one) => one.kind === 'finished' && one.run_id === plan.run_id);
      const report = await eventually(`the outcome of ${plan.run_id}`, find, timeoutMs);
      if (report.kind !== 'finished') throw new Error('unreachable');
      return report.outcome;
    },
  };
}
