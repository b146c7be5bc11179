export { createProcessExecutor } from './process-executor.ts';
export type { ProcessExecutorDeps } from './process-executor.ts';
