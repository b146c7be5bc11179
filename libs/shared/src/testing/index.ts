export * from './eventually.ts';
export * from './fake-clock.ts';
