import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { Agent, request as httpRequest } from 'node:http';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { removeFolder, startServer, tempFolder, type Server } from '../e2e/support/server.ts';
import { createService, tokenOf } from '../e2e/support/service.ts';
import { waitFor } from '../e2e/support/wait.ts';
import { percentile } from './distributed/figures.ts';
import { line, summarise } from './statistics.ts';

export interface CallsBenchOptions {
  readonly repeat: number;
  /** Calls in each round, for each width. */
  readonly calls: number;
  readonly write: (text: string) => void;
}

/** The script that both sides run for each request. */
const script = 'cat "$INPUT_FILE_PATH"\n';
const body = Buffer.from('hello').toString('base64');
const wide = 8;
const callers = 50;

export interface Target {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Measures `/run` beside a bare HTTP server that spawns the same script, round by round, and prints medians with min and max. */
export async function benchCalls(options: CallsBenchOptions): Promise<void> {
  const cpu = cpus()[0]?.model ?? 'unknown CPU';
  options.write(
    `calls, ${options.repeat} rounds, ${cpus().length} cores (${cpu}), Node ${process.versions.node}\n\n`,
  );
  const figures = new Map<string, number[]>();
  const note = (name: string, value: number): void => {
    figures.set(name, [...(figures.get(name) ?? []), value]);
  };
  for (let round = 0; round < options.repeat; round += 1) {
    await inRound(async (sluice, bare, server) => {
      await benchWarm(options, sluice, bare, note);
      await benchQueue(server, note);
      await benchCold(server, bare, note);
    });
  }
  for (const [name, values] of figures) {
    const [label = '', unit = ''] = name.split('|');
    options.write(line(label, values, unit, unit === 'ms' ? 2 : 0));
  }
  const json = Object.fromEntries(
    [...figures].map(([name, values]) => [name.split('|')[0], summarise(values)]),
  );
  options.write(`\n${JSON.stringify(json)}\n`);
}

async function inRound(work: (sluice: Target, bare: Target, server: Server) => Promise<void>): Promise<void> {
  const data = await tempFolder();
  const env = { SLUICE_CPU: '16', SLUICE_MEMORY: '32Gi', SLUICE_MAX_RUNNERS: '16' };
  try {
    const server = await startServer({ data, env });
    const bare = await startBare(data);
    try {
      await createService(server, 'bench', script, { synchronous: { min_scale: wide, max_scale: wide } });
      await waitFor('the runners', async () => {
        const answer = await server.request('/system/services/bench/deployment');
        const { active_instances: active } = (await answer.json()) as { active_instances: number };
        return active === wide || undefined;
      });
      await work(await targetOf(server, 'bench'), bare.target, server);
    } finally {
      bare.close();
      await server.stop('SIGKILL');
    }
  } finally {
    await removeFolder(data);
  }
}

async function targetOf(server: Server, service: string): Promise<Target> {
  const token = await tokenOf(server, service);
  return { url: `${server.url}/run/${service}`, headers: { authorization: `Bearer ${token}` } };
}

async function startBare(folder: string): Promise<{ readonly target: Target; close(): void }> {
  const path = join(folder, 'bare.sh');
  await writeFile(path, script);
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./bare-server.ts', import.meta.url)), folder, path],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  return {
    target: { url: `http://127.0.0.1:${port.toString().trim()}/`, headers: {} },
    close: () => {
      child.kill('SIGKILL');
    },
  };
}

type Note = (name: string, value: number) => void;

/** Both sides take turns, so that whatever else the machine does meets both. */
async function benchWarm(
  options: CallsBenchOptions,
  sluice: Target,
  bare: Target,
  note: Note,
): Promise<void> {
  for (const width of [1, wide]) {
    const agent = new Agent({ keepAlive: true, maxSockets: width });
    const turn = width * 5;
    const times = { bare: [] as number[], sluice: [] as number[] };
    // Both are used before: what is measured is warm.
    for (const target of [bare, sluice]) await timed(target, agent, 20 * width, width);
    while (times.bare.length < options.calls) {
      times.bare.push(...(await timed(bare, agent, turn, width)));
      times.sluice.push(...(await timed(sluice, agent, turn, width)));
    }
    agent.destroy();
    for (const part of [50, 99]) {
      const [without, beside] = [percentile(times.bare, part), percentile(times.sluice, part)];
      note(`p${part}, bare server, ${width} wide|ms`, without);
      note(`p${part}, POST /run, ${width} wide|ms`, beside);
      note(`  more by, p${part}, ${width} wide|ms`, beside - without);
    }
  }
}

/** Milliseconds of each call. */
export async function timed(
  target: Target,
  agent: Agent,
  amount: number,
  width: number,
): Promise<readonly number[]> {
  const times: number[] = [];
  let left = amount;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const started = performance.now();
      await post(target, agent);
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return times;
}

async function post({ url, headers }: Target, agent: Agent, sent = body): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const request = httpRequest(url, { method: 'POST', agent, headers }, (response) => {
    buffer(response).then((bytes) => {
      const text = bytes.toString();
      if (response.statusCode === 200) resolve(text);
      else reject(new Error(`${response.statusCode} ${text}`));
    }, reject);
  });
  request.on('error', reject).on('timeout', () => request.destroy(new Error('no answer in time')));
  request.end(sent);
  return promise;
}

/** 50 callers at once where two scripts may run: calls lost, and how far any was from its place. */
async function benchQueue(server: Server, note: Note): Promise<void> {
  const order = join(server.data, 'order');
  const service = `queue-${Math.round(performance.now())}`;
  await createService(server, service, `cat "$INPUT_FILE_PATH" >> ${order}; sleep 0.02\n`, {
    synchronous: { min_scale: 2, max_scale: 2 },
  });
  const target = await targetOf(server, service);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  await post(target, agent, Buffer.from('').toString('base64'));
  const answers: Promise<string>[] = [];
  const agents = Array.from({ length: callers }, () => new Agent());
  for (const [index, one] of agents.entries()) {
    answers.push(post(target, one, Buffer.from(`${index}\n`).toString('base64')));
    // In the order of their numbers, not in that in which connections are accepted.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  const settled = await Promise.allSettled(answers);
  agent.destroy();
  for (const one of agents) one.destroy();
  const places = (await readFile(order, 'utf8')).trim().split('\n').map(Number);
  note(
    `${callers} callers, 2 runners: lost|calls`,
    settled.filter(({ status }) => status === 'rejected').length,
  );
  note(
    `${callers} callers, 2 runners: farthest from its place|places`,
    Math.max(...places.map((index, place) => Math.abs(index - place))),
  );
}

/** The first call of a service that has no runner. */
async function benchCold(server: Server, bare: Target, note: Note): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  await createService(server, 'cold', script);
  const target = await targetOf(server, 'cold');
  const started = performance.now();
  await post(target, agent);
  note('first call, no runner|ms', performance.now() - started);
  const bareStarted = performance.now();
  await post(bare, agent);
  note('first call, bare server|ms', performance.now() - bareStarted);
  agent.destroy();
}
