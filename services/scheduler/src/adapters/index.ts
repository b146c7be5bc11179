export { createLocalExecutor } from './local-executor.ts';
export type { LocalExecutorDeps } from './local-executor.ts';
