export * from './clock.ts';
export * from './component.ts';
export * from './health-server.ts';
export * from './periodic.ts';
export * from './run.ts';
