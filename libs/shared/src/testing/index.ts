export * from './eventually.ts';
export * from './fake-clock.ts';
export type { BusHarness, MakeBus } from './bus-harness.ts';
export * from './bus.suite.ts';
