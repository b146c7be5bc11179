import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createService, stateCounts, tokenOf } from '../e2e/support/service.ts';
import {
  removeFolder,
  root,
  serverFlags,
  startServer,
  tempFolder,
  type Server,
} from '../e2e/support/server.ts';
import { waitFor } from '../e2e/support/wait.ts';
import { line } from './statistics.ts';
import { submitJobs } from './submit.ts';

export interface BenchOptions {
  readonly repeat: number;
  /** Runs of a `true` script in each round. */
  readonly runs: number;
  /** `/job` calls in each round. */
  readonly submits: number;
  /** Finished runs before memory is read again; 0 leaves that part out. */
  readonly finished: number;
  /** Scripts side by side, in the bare loop and in Sluice. */
  readonly concurrency: number;
  readonly write: (text: string) => void;
}

/** Measures the standalone form beside the raw ceiling, round by round, and prints medians with min and max. */
export async function benchStandalone(options: BenchOptions): Promise<void> {
  const cpu = cpus()[0]?.model ?? 'unknown CPU';
  options.write(
    `standalone, ${options.repeat} rounds, ${cpus().length} cores (${cpu}), Node ${process.versions.node}\n\n`,
  );
  await benchReady(options);
  await benchRuns(options);
  await benchSubmit(options);
  if (options.finished > 0) await benchMemory(options);
}

async function withServer<T>(
  env: Readonly<Record<string, string>>,
  work: (server: Server) => Promise<T>,
): Promise<T> {
  const data = await tempFolder();
  try {
    const server = await startServer({ data, env });
    try {
      return await work(server);
    } finally {
      await server.stop('SIGKILL');
    }
  } finally {
    await removeFolder(data);
  }
}

/** Room for exactly `concurrency` scripts that declare the default of 0.2 cores. */
function roomFor(concurrency: number): Record<string, string> {
  return {
    SLUICE_MAX_RUNS: `${concurrency}`,
    SLUICE_CPU: `${concurrency}`,
    SLUICE_MEMORY: `${concurrency}Gi`,
  };
}

async function benchReady(options: BenchOptions): Promise<void> {
  const viaNpm: number[] = [];
  const viaNode: number[] = [];
  const idle: number[] = [];
  const commands = {
    npm: ['npm', 'start'],
    node: [process.execPath, ...serverFlags, 'apps/standalone/bin/sluice-server.mjs'],
  };
  for (let round = 0; round < options.repeat; round += 1) {
    viaNode.push(await timeToReady(commands.node));
    viaNpm.push(await timeToReady(commands.npm));
    idle.push(await withServer({}, (server) => settledMemory(server)));
  }
  options.write(line('start to ready, node apps/standalone/bin/…', viaNode, 'ms'));
  options.write(line('start to ready, npm start', viaNpm, 'ms'));
  options.write(line('resident memory, idle', idle, 'MB'));
}

async function timeToReady(command: readonly string[]): Promise<number> {
  const data = await tempFolder();
  const started = performance.now();
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, SLUICE_DATA: data, OSCAR_SERVICE_PORT: '0' },
    stdio: 'ignore',
    detached: true,
  });
  try {
    await waitFor('the server', async () => {
      const text = await readFile(join(data, 'server.json'), 'utf8').catch(() => undefined);
      if (text === undefined) return undefined;
      const { url } = JSON.parse(text) as { url: string };
      return (await fetch(`${url}/health`).catch(() => undefined))?.ok === true ? true : undefined;
    });
    return performance.now() - started;
  } finally {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    await once(child, 'exit');
    await removeFolder(data);
  }
}

async function benchRuns(options: BenchOptions): Promise<void> {
  const bare: number[] = [];
  const sluice: number[] = [];
  const ratio: number[] = [];
  for (let round = 0; round < options.repeat; round += 1) {
    const bareRate = await bareSpawns(options.runs, options.concurrency);
    const rate = await runRate(options, {});
    bare.push(bareRate);
    sluice.push(rate);
    ratio.push(rate / bareRate);
  }
  options.write(line(`"true" scripts, bare spawn loop, ${options.concurrency} side by side`, bare, '/s'));
  options.write(line(`"true" scripts, Sluice from accepted to succeeded`, sluice, '/s'));
  options.write(line('  ratio', ratio, '', 2));
}

async function bareSpawns(count: number, concurrency: number): Promise<number> {
  const folder = await tempFolder();
  const script = join(folder, 'true.sh');
  await writeFile(script, 'true\n');
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const child = spawn('/bin/sh', [script], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
      child.stdout.resume();
      child.stderr.resume();
      await once(child, 'close');
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: concurrency }, worker));
  const seconds = (performance.now() - started) / 1000;
  await removeFolder(folder);
  return count / seconds;
}

/** Runs of a `true` script a second, from the first accepted to the last succeeded. */
export async function runRate(options: BenchOptions, env: Readonly<Record<string, string>>): Promise<number> {
  return withServer({ ...roomFor(options.concurrency), ...env }, async (server) => {
    await createService(server, 'bench', 'true\n');
    const started = performance.now();
    await submit(server, 'bench', options.runs);
    await waitForEnd(server, options.runs);
    return options.runs / ((performance.now() - started) / 1000);
  });
}

async function submit(server: Server, service: string, amount: number): Promise<number> {
  return submitJobs({ url: server.url, token: await tokenOf(server, service) }, service, amount);
}

async function waitForEnd(server: Server, runs: number): Promise<void> {
  await waitFor(
    `${runs} runs`,
    async () => {
      const counts = await stateCounts(server);
      if ((counts['failed'] ?? 0) > 0) throw new Error('a run failed');
      return counts['succeeded'] === runs ? true : undefined;
    },
    3_600_000,
  );
}

/** `/job` calls accepted a second. One script that does not end holds the only place: what is measured is acceptance. */
export async function acceptedRate(
  options: BenchOptions,
  env: Readonly<Record<string, string>>,
): Promise<number> {
  return withServer(env, async (server) => {
    await createService(server, 'bench', 'sleep 600\n', { sluice: { max_concurrency: 1 } });
    return submit(server, 'bench', options.submits);
  });
}

async function benchSubmit(options: BenchOptions): Promise<void> {
  const waiting: number[] = [];
  const working: number[] = [];
  for (let round = 0; round < options.repeat; round += 1) {
    waiting.push(await acceptedRate(options, {}));
    working.push(
      await withServer({}, async (server) => {
        await createService(server, 'bench', 'true\n');
        return submit(server, 'bench', Math.ceil(options.submits / 2));
      }),
    );
  }
  options.write(line('POST /job accepted, backlog waiting', waiting, '/s'));
  options.write(line('POST /job accepted, scripts running meanwhile', working, '/s'));
}

async function benchMemory(options: BenchOptions): Promise<void> {
  await withServer({ ...roomFor(options.concurrency) }, async (server) => {
    await createService(server, 'bench', 'true\n');
    let done = 0;
    for (const part of [0.1, 0.5, 1]) {
      const target = Math.round(options.finished * part);
      await submit(server, 'bench', target - done);
      await waitForEnd(server, target);
      done = target;
      const megabytes = await settledMemory(server);
      const label = `resident memory after ${done} finished runs`;
      options.write(`${label.padEnd(52)} ${megabytes.toFixed(0).padStart(8)} MB\n`);
    }
  });
}

/** Resident memory in MB once it stopped falling. */
async function settledMemory(server: Server): Promise<number> {
  let last = Number.POSITIVE_INFINITY;
  return waitFor('memory to settle', async () => {
    const now = await residentMegabytes(server.process.pid ?? 0);
    const settled = now >= last - 0.5;
    last = now;
    await new Promise((resolve) => {
      setTimeout(resolve, 500);
    });
    return settled ? now : undefined;
  });
}

async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? '0') / 1000;
}
