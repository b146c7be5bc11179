import type { Bus } from '@sluice/shared/bus';
import type { DefinitionStore, ObjectStore, RunLedger, RunLogs, Settings } from '@sluice/shared/stores';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger, Registry, Tracer } from '@sluice/shared/telemetry';
import type { Authenticate } from '../app/authenticate.ts';
import type { Buckets } from '../app/buckets.ts';
import type { Calls } from '../app/calls/calls.ts';
import type { KnownRunners } from '../app/calls/known-runners.ts';
import type { CallLog } from '../app/call-log.ts';
import type { Checks } from '../app/checks.ts';
import type { Directory } from '../app/directory.ts';
import type { Jobs } from '../app/jobs.ts';
import type { RunFeed } from '../app/live/run-feed.ts';
import type { ObjectCount } from '../app/object-count.ts';
import type { Runs } from '../app/runs.ts';
import type { ServiceContext } from '../app/service-context.ts';
import type { SubmitJob } from '../app/submit-job.ts';
import type { ApiConfig } from '../config.ts';
import type { Builds, Installation, NodeFacts, Random, UrlVerifier } from '../ports.ts';

/** What the routes work with; made by the component. */
export interface HttpContext {
  readonly config: ApiConfig;
  readonly authenticate: Authenticate;
  readonly directory: Directory;
  readonly services: ServiceContext;
  readonly definitions: DefinitionStore;
  readonly ledger: RunLedger;
  readonly objects: ObjectStore;
  readonly logs: RunLogs;
  readonly settings: Settings;
  readonly bus: Bus;
  readonly buckets: Buckets;
  readonly jobs: Jobs;
  readonly runs: Runs;
  readonly submit: SubmitJob;
  readonly verifier: UrlVerifier;
  readonly runners: KnownRunners;
  readonly calls: Calls;
  readonly installation: () => Installation;
  /** Changes of runs' states as they happen. */
  readonly feed: RunFeed;
  readonly nodes: () => Promise<readonly NodeFacts[]>;
  readonly countObjects: () => Promise<ObjectCount>;
  /** When this process began, epoch milliseconds. */
  readonly startedAt: number;
  readonly checks: Checks;
  /** The last calls of services. */
  readonly callLog: CallLog;
  /** Absent where no images are built. */
  readonly builds?: Builds;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tracer: Tracer;
}
