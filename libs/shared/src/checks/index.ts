export * from './announce.ts';
export * from './check.ts';
export * from './clock-skew.ts';
export * from './look.ts';
