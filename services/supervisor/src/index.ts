export { defaultLimits, type SupervisorLimits } from './app/limits.ts';
export { createSupervisor, type Supervisor, type SupervisorOptions } from './app/supervisor.ts';
export { runnerVariables, supervisorVariables } from './config.ts';
export { pickBaseEnvironment } from './domain/environment.ts';
export { isImageName } from './domain/image-reference.ts';
export { createOutputCollector, responseBody, type ResponseFile } from './domain/response.ts';
export {
  createRunnerServer,
  defaultRunnerLimits,
  type RunnerServer,
  type RunnerServerLimits,
  type RunnerServerOptions,
} from './http/runner-server.ts';
export type {
  AttemptContext,
  AttemptProgress,
  CallContext,
  CallOutputs,
  OutputSink,
  ScriptEnd,
  ScriptRequest,
  ScriptRunner,
} from './ports.ts';
