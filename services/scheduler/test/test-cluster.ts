import type { AttemptOutcome, AttemptPlan, AttemptRef, AttemptReport, Run } from '@sluice/shared/contracts';
import type { Executor } from '../src/index.ts';

type Listener = (report: AttemptReport) => Promise<void>;

/** A replica's view of a cluster. */
export interface ClusterReplica extends Executor {
  /** Called before a start does anything; one that never resolves is a replica that dies there. */
  beforeStart: (plan: AttemptPlan) => Promise<void>;
}

/**
 * A cluster in memory that several replicas share: as with Jobs, an attempt has one name whoever starts it, all replicas hear of its end, and an end that nobody took waits
 * for somebody who does.
 */
export interface TestCluster {
  replica(): ClusterReplica;
  /** Attempts in the order of their start, as `<run>.<attempt>`. */
  readonly started: readonly string[];
  /** Most attempts at the same time: in all, and by service. */
  readonly peak: { all: number; readonly byService: Map<string, number> };
  /** Attempts vanish with their machine; nobody is told. */
  lose(runId: string): void;
}

interface Job {
  readonly ref: AttemptRef;
  readonly run: Run | undefined;
  readonly service: string;
  ended: AttemptReport | undefined;
}

interface State {
  readonly jobs: Map<string, Job>;
  readonly listeners: Set<Listener>;
  readonly started: string[];
  readonly peak: { all: number; readonly byService: Map<string, number> };
}

type Perform = Parameters<typeof createTestCluster>[0]['perform'];

export function createTestCluster(options: {
  /** @param run the run that was handed over with it */
  readonly perform: (plan: AttemptPlan, run: Run | undefined) => Promise<AttemptOutcome>;
  readonly slots?: number;
}): TestCluster {
  const state: State = {
    jobs: new Map(),
    listeners: new Set(),
    started: [],
    peak: { all: 0, byService: new Map() },
  };
  return {
    started: state.started,
    peak: state.peak,
    lose: (runId) => {
      for (const [key, job] of state.jobs) if (job.ref.run_id === runId) state.jobs.delete(key);
    },
    replica: () => replicaOf(state, options),
  };
}

function replicaOf(state: State, options: Parameters<typeof createTestCluster>[0]): ClusterReplica {
  const mine = new Set<Listener>();
  const replica: ClusterReplica = {
    kind: 'kubernetes',
    shared: true,
    slots: options.slots ?? 1000,
    beforeStart: () => Promise.resolve(),
    reserve: () => Promise.resolve({ release: () => undefined }),
    start: async (plan, _reservation, run) => {
      await replica.beforeStart(plan);
      begin(state, plan, run, options.perform);
    },
    cancel: (ref, reason) => {
      const job = state.jobs.get(keyOf(ref));
      const failure = { code: 'cancelled', message: reason };
      if (job !== undefined)
        end(state, job, { result: 'cancelled', script_started: true, outputs: [], failure });
      return Promise.resolve();
    },
    attempts: () => Promise.resolve([...state.jobs.values()].map(({ ref }) => ref)),
    carriedRuns: async function* carried() {
      for (const { run } of state.jobs.values()) if (run !== undefined) yield run;
    },
    onReport: (listener) => {
      mine.add(listener);
      state.listeners.add(listener);
      for (const job of state.jobs.values()) if (job.ended !== undefined) tell(state, job);
    },
    onRoom: () => undefined,
    ignores: () => [],
    stop: () => {
      for (const listener of mine) state.listeners.delete(listener);
      return Promise.resolve();
    },
  };
  return replica;
}

function keyOf(ref: AttemptRef): string {
  return `${ref.run_id}.${ref.attempt}`;
}

function begin(state: State, plan: AttemptPlan, run: Run | undefined, perform: Perform): void {
  const ref = { run_id: plan.run_id, attempt: plan.attempt };
  if (state.jobs.has(keyOf(ref))) return;
  const service = plan.definition.name;
  const job: Job = { ref, run, service, ended: undefined };
  state.jobs.set(keyOf(ref), job);
  state.started.push(keyOf(ref));
  const active = [...state.jobs.values()].filter(({ ended }) => ended === undefined);
  const ofService = active.filter((one) => one.service === service).length;
  state.peak.all = Math.max(state.peak.all, active.length);
  state.peak.byService.set(service, Math.max(state.peak.byService.get(service) ?? 0, ofService));
  void perform(plan, run).then((outcome) => {
    end(state, job, outcome);
  });
}

function end(state: State, job: Job, outcome: AttemptOutcome): void {
  if (job.ended !== undefined || state.jobs.get(keyOf(job.ref)) !== job) return;
  job.ended = { kind: 'finished', ...job.ref, outcome };
  tell(state, job);
}

/** Gone once one of them has brought it into the ledger. */
function tell(state: State, job: Job): void {
  const report = job.ended;
  if (report === undefined) return;
  const told = [...state.listeners].map((listener) => listener(report));
  Promise.any(told).then(
    () => {
      state.jobs.delete(keyOf(job.ref));
    },
    () => undefined,
  );
}
