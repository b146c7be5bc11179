import type { Executor, RunnerHost, SchedulerDeps } from '@sluice/scheduler';
import type { Look } from '@sluice/shared/checks';
import type { ClusterState } from '@sluice/shared/contracts';

/** Where scripts run: a cluster, or the containers of one machine. */
export interface Place {
  /** The variable that chose it. */
  readonly chosenBy: string;
  readonly executor: Executor;
  readonly runners: RunnerHost;
  /** For supervisors in pods, which ask the scheduler for their work. */
  readonly pods: SchedulerDeps['pods'];
  describe(): Promise<Pick<ClusterState, 'kubernetes_version' | 'nodes'>>;
  /** What is looked at of it, for `GET /system/checks`. */
  readonly looks: readonly Look[];
  check(): Promise<void>;
  close(): Promise<void>;
}
