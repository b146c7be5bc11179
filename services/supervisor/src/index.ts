export { defaultLimits, type SupervisorLimits } from './app/limits.ts';
export { createSupervisor, type Supervisor, type SupervisorOptions } from './app/supervisor.ts';
export { pickBaseEnvironment } from './domain/environment.ts';
export { createOutputCollector, responseBody, type ResponseFile } from './domain/response.ts';
export type {
  AttemptContext,
  AttemptProgress,
  OutputSink,
  ScriptEnd,
  ScriptRequest,
  ScriptRunner,
} from './ports.ts';
