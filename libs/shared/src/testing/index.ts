export * from './eventually.ts';
export * from './fake-clock.ts';
export type { BusHarness, MakeBus } from './bus-harness.ts';
export * from './bus.suite.ts';
export * from './definition-store.suite.ts';
export * from './run-ledger-harness.ts';
export * from './run-ledger.suite.ts';
export * from './object-store.suite.ts';
export * from './run-logs.suite.ts';
