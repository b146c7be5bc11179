export * from './config.ts';
export type {
  StorageGrants,
  Executor,
  FoundRunner,
  PerformAttempt,
  Requirements,
  Reservation,
  RunnerHost,
} from './ports.ts';
export * from './scheduler.ts';
export type { AttemptDesk, DeskLimits } from './app/attempt-desk.ts';
export * from './http/attempts-server.ts';
export { createOutcomes } from './app/outcomes.ts';
export { ignoredBy, ignoredOnKubernetes } from './domain/ignored.ts';
