import type { AttemptPlan } from '@sluice/shared/contracts';
import type { Clock } from '@sluice/shared/lifecycle';
import type { ObjectStore } from '@sluice/shared/stores';
import type { Logger, Tracer } from '@sluice/shared/telemetry';
import type { FolderRemover } from '../files/folder-remover.ts';
import type { ScriptCache } from '../files/script-cache.ts';

import type { AttemptContext, AttemptProgress, ScriptRunner, WorkFolder } from '../ports.ts';
import type { AttemptLog } from './attempt-log.ts';
import type { SupervisorLimits } from './limits.ts';
import type { SupervisorMetrics } from './metrics.ts';

/** What every attempt of a supervisor shares. */
export interface SupervisorDeps {
  readonly objects: Pick<ObjectStore, 'get' | 'head' | 'put'>;
  readonly scripts: ScriptRunner;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: SupervisorMetrics;
  readonly tracer: Tracer;
  readonly scriptCache: ScriptCache;
  readonly folders: FolderRemover;
  readonly instance: string;
  readonly hostName: string;
  readonly baseEnv: Readonly<Record<string, string>>;
  readonly randomUuid: () => string;
}

/** One attempt under way. */
export interface Attempt {
  readonly plan: AttemptPlan;
  readonly context: AttemptContext;
  readonly limits: SupervisorLimits;
  readonly folder: WorkFolder;
  readonly log: AttemptLog;
  readonly progress: (progress: AttemptProgress) => void;
  /** Context of the script's span, which its environment names before it has begun. */
  readonly scriptTrace: string;
  /** Set by the script's start and its end. */
  scriptStarted: boolean;
  exitCode: number | undefined;
}
