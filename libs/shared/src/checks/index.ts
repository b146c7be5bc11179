export * from './announce.ts';
export * from './check.ts';
export * from './clock-skew.ts';
export * from './look.ts';
export * from './growth.ts';
export * from './outbox.ts';
export * from './seldom.ts';
export * from './version.ts';
