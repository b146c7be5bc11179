export * from './logger.ts';
export * from './metrics.ts';
export * from './process-metrics.ts';
export * from './run-spans.ts';
export * from './trace.ts';
export * from './tracing.ts';
export * from './tracing-config.ts';
