import type { ReadFile } from '@sluice/shared/config';
import { AppError } from '@sluice/shared/errors';
import {
  createHealthServer,
  systemClock,
  type Clock,
  type Running,
  type ShutdownStep,
} from '@sluice/shared/lifecycle';
import {
  createLogger,
  createMetrics,
  createTracer,
  registerProcessMetrics,
  tracingConfig,
  type Logger,
  type Registry,
  type Tracer,
} from '@sluice/shared/telemetry';
import pino from 'pino';
import { startApi } from './components/api.ts';
import { startBuilder } from './components/builder.ts';
import { startScheduler } from './components/scheduler.ts';
import { startStorageEvents } from './components/storage-events.ts';
import { componentVariables, readComponentVariables, type ProcessConfig } from './variables.ts';
import { version } from './version.ts';

export const componentNames = ['api', 'scheduler', 'storage-events', 'builder'] as const;
type Name = (typeof componentNames)[number];

export interface StartOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: ReadFile;
}

/** What every component's process has. */
export interface ProcessDeps {
  readonly env: StartOptions['env'];
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly tracer: Tracer;
}

/** A component that works. */
export interface Started {
  /** Rejects with what is wrong now. */
  check(): Promise<void>;
  /** Its own, in their phases; connections are closed by a step of phase `connections`. */
  readonly steps: readonly ShutdownStep[];
}

/**
 * Runs one component as this process. The health routes answer from the first moment, so that who waits for the process sees what it waits for.
 * @throws ConfigError, AppError: each with a sentence that says what to mend
 */
export async function startComponent(name: Name, { env, readFile }: StartOptions): Promise<Running> {
  const read = <N extends Name>(of: N) => readComponentVariables(componentVariables[of], env, readFile);
  if (name === 'api') {
    const config = read('api');
    return runProcess(name, env, config, (deps) => startApi(config, deps));
  }
  if (name === 'scheduler') {
    const config = read('scheduler');
    return runProcess(name, env, config, (deps) => startScheduler(config, deps));
  }
  if (name === 'builder') {
    const config = read('builder');
    return runProcess(name, env, config, (deps) => startBuilder(config, deps));
  }
  const config = read('storage-events');
  return runProcess(name, env, config, (deps) => startStorageEvents(config, deps));
}

async function runProcess(
  name: Name,
  env: StartOptions['env'],
  config: ProcessConfig,
  start: (deps: ProcessDeps) => Promise<Started>,
): Promise<Running> {
  const clock = systemClock;
  const log = createLogger({
    name: `sluice-${name}`,
    level: config.SLUICE_LOG_LEVEL,
    destination: pino.destination({ fd: 2, sync: true }),
  });
  const metrics = createMetrics();
  registerProcessMetrics(metrics, { version });
  const tracer = await createTracer(tracingConfig(config, version), { clock, log, metrics });
  const state: { started?: Started } = {};
  const health = createHealthServer({
    host: config.SLUICE_HEALTH_HOST,
    port: config.SLUICE_HEALTH_PORT,
    check: async () => {
      if (state.started === undefined) throw new AppError('unavailable', 'starting');
      await state.started.check();
    },
    metrics,
    log,
  });
  await health.start();
  try {
    state.started = await start({ env, clock, log, metrics, tracer });
  } catch (error) {
    await health.stop();
    await tracer.shutdown();
    throw error;
  }
  log.info({ version, health_port: health.port() }, 'component started');
  return {
    log,
    farewell: `Sluice's ${name} stopped.`,
    steps: [
      { name: 'readiness', phase: 'intake', run: async () => health.drain() },
      ...state.started.steps,
      { name: 'tracing', phase: 'connections', run: () => tracer.shutdown() },
      { name: 'health', phase: 'connections', run: () => health.stop() },
    ],
  };
}
