export { createLocalExecutor } from './local-executor.ts';
export type { LocalExecutor, LocalExecutorDeps } from './local-executor.ts';
export { createLocalRunners } from './local-runners.ts';
export type { LocalRunnersDeps, RunnerScripts } from './local-runners.ts';
