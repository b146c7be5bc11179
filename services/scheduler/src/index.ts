export * from './config.ts';
export type { Executor, PerformAttempt, Requirements, Reservation } from './ports.ts';
export * from './scheduler.ts';
