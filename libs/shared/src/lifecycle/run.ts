import { AppError, messageOf } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** In this order: nothing new comes in, work in hand ends or is given back, connections close. */
export const shutdownPhases = ['intake', 'work', 'connections'] as const;
export type ShutdownPhase = (typeof shutdownPhases)[number];

export interface ShutdownStep {
  readonly name: string;
  readonly phase: ShutdownPhase;
  /** Milliseconds the step may take. @default 10000 */
  readonly timeoutMs?: number;
  readonly run: () => Promise<void>;
}

/** Runs all phases in order, steps of one phase side by side, each with its time-out; failures of one do not keep the others from running. */
export async function shutDown(steps: readonly ShutdownStep[], log: Logger): Promise<boolean> {
  let clean = true;
  for (const phase of shutdownPhases) {
    const results = await Promise.allSettled(
      steps.filter((step) => step.phase === phase).map((step) => withTimeout(step)),
    );
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      clean = false;
      log.error({ err: result.reason, phase }, 'shutdown step failed');
    }
  }
  return clean;
}

async function withTimeout(step: ShutdownStep): Promise<void> {
  const timeoutMs = step.timeoutMs ?? 10_000;
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(new AppError('timed_out', `${step.name} did not stop within ${timeoutMs} ms`));
  }, timeoutMs);
  try {
    await Promise.race([step.run(), promise]);
  } finally {
    clearTimeout(timer);
  }
}

export interface Running {
  readonly steps: readonly ShutdownStep[];
  readonly log: Logger;
  /** Rejects when the program can't go on by itself (the bus is gone for good, a listener died). */
  readonly failed?: Promise<never>;
  /** Said on standard error when all is stopped. */
  readonly farewell?: string;
}

/**
 * The only place that handles signals and exits. Starts the program, waits for SIGTERM or SIGINT, shuts down; a second signal exits at once.
 * Exit codes: 0 clean, 1 failed to start, to run or to stop, 130 second signal.
 * @param start builds and starts everything; a rejection is printed without a stack where it is an `AppError` or a `ConfigError`
 */
export async function runUntilSignal(start: () => Promise<Running>): Promise<void> {
  const { promise: signalled, resolve: signal } = Promise.withResolvers<string>();
  let signals = 0;
  const onSignal = (name: NodeJS.Signals): void => {
    signals += 1;
    if (signals > 1) process.exit(130);
    signal(name);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  let running: Running;
  try {
    running = await start();
  } catch (error) {
    printFailure(error);
    process.exit(1);
  }
  let failure: unknown;
  await Promise.race([signalled, running.failed ?? signalled]).catch((error: unknown) => {
    failure = error;
    running.log.fatal({ err: error }, 'stopping after a failure');
  });
  const clean = await shutDown(running.steps, running.log);
  if (running.farewell !== undefined) process.stderr.write(`${running.farewell}\n`);
  process.exit(clean && failure === undefined ? 0 : 1);
}

/**
 * Runs a program that ends by itself, with the exit code that it gives. SIGTERM or SIGINT abort its signal; a second one exits at once (130). What it throws is printed as by
 * `runUntilSignal`, and gives 1.
 */
export async function runToEnd(work: (signal: AbortSignal) => Promise<number>): Promise<void> {
  const stop = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  // Waiting for something that holds no handle (a pipe of which the reading rests) is no reason to end.
  const hold = setInterval(() => undefined, 2 ** 30);
  try {
    process.exit(await work(stop.signal));
  } catch (error) {
    printFailure(error);
    process.exit(1);
  } finally {
    clearInterval(hold);
  }
}

function printFailure(error: unknown): void {
  const known = error instanceof AppError || (error instanceof Error && error.name === 'ConfigError');
  const text = known || !(error instanceof Error) ? messageOf(error) : (error.stack ?? error.message);
  process.stderr.write(`${text}\n`);
}
