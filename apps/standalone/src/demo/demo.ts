import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const serverBin = join(root, 'apps/standalone/bin/sluice-server.mjs');
const cliBin = join(root, 'apps/cli/bin/sluice.mjs');
const startTimeoutMs = 20_000;

export interface DemoOptions {
  /** Leave the server running until Ctrl-C. */
  readonly keep: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly write: (text: string) => void;
}

/** One example: what is applied, which files go where, which result is shown. */
interface Scene {
  readonly title: string;
  readonly fdl: string;
  readonly uploads: readonly { readonly file: string; readonly to: string }[];
  /** Listed afterwards; text results are printed. */
  readonly results: string;
  readonly show: readonly string[];
  readonly service: string;
}

const scenes: readonly Scene[] = [
  {
    title: 'word-count: a text becomes a table of its words',
    fdl: 'examples/word-count/word-count.yaml',
    uploads: [{ file: 'examples/word-count/samples/harbour.txt', to: 'word-count/in/' }],
    results: 'word-count/out/',
    show: ['word-count/out/harbour-summary.txt'],
    service: 'word-count',
  },
  {
    title: 'thumbnail: a picture becomes a small one and a grey one',
    fdl: 'examples/thumbnail/thumbnail.yaml',
    uploads: [
      { file: 'examples/thumbnail/samples/sunset.jpg', to: 'thumbnail/in/' },
      { file: 'examples/thumbnail/samples/badge.png', to: 'thumbnail/in/' },
    ],
    results: 'thumbnail/out/',
    show: [],
    service: 'thumbnail',
  },
  {
    title: 'pipeline: two services, chained by a bucket',
    fdl: 'examples/pipeline/pipeline.yaml',
    uploads: [{ file: 'examples/pipeline/samples/readings.csv', to: 'pipeline/in/' }],
    results: 'pipeline/reports/',
    show: ['pipeline/reports/readings-harbour-report.json'],
    service: 'pipeline-report',
  },
];

/** Runs the demonstration with the same server and client that a user has. @returns the exit code */
export async function runDemo(options: DemoOptions): Promise<number> {
  const data = await mkdtemp(join(tmpdir(), 'sluice-demo-'));
  const env = { ...options.env, SLUICE_DATA: data, OSCAR_SERVICE_PORT: '0', FORCE_COLOR: undefined };
  const server = spawn(process.execPath, ['--max-semi-space-size=2', serverBin], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaints = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const interrupted = new AbortController();
  const stop = (): void => {
    server.kill('SIGTERM');
  };
  process.once('SIGINT', () => {
    interrupted.abort();
    stop();
  });
  try {
    options.write(`Starting a Sluice of its own in ${data}\n`);
    const url = await waitForServer(server, data);
    options.write(`It answers at ${url}\n`);
    const failures = await playScenes(options, env);
    interrupted.signal.throwIfAborted();
    if (failures.length > 0) {
      options.write(`\nThe demo failed: ${failures.join('; ')}\n${complaints}`);
      return 1;
    }
    if (options.keep) await stayOpen(options, server, url, data);
    else
      options.write(
        '\nAll three examples gave their results. "npm run demo -- --keep" leaves it running; "npm start" is the real one.\n',
      );
    return 0;
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    options.write(`\nStopped; ${data} is removed.\n`);
    return 130;
  } finally {
    stop();
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
    await rm(data, { recursive: true, force: true });
  }
}

async function waitForServer(server: ChildProcess, data: string): Promise<string> {
  const deadline = performance.now() + startTimeoutMs;
  while (performance.now() < deadline) {
    if (server.exitCode !== null) throw new Error(`the server ended with code ${server.exitCode}`);
    const text = await readFile(join(data, 'server.json'), 'utf8').catch(() => undefined);
    if (text !== undefined) {
      const { url } = JSON.parse(text) as { url: string };
      if (
        await fetch(`${url}/health`).then(
          (answer) => answer.ok,
          () => false,
        )
      )
        return url;
    }
    await delay(20);
  }
  throw new Error('the server did not answer in time');
}

async function playScenes(options: DemoOptions, env: NodeJS.ProcessEnv): Promise<string[]> {
  const failures: string[] = [];
  const run = async (args: readonly string[]): Promise<void> => {
    options.write(`\n$ npx sluice ${args.join(' ')}\n`);
    const code = await sluice(args, env, options.write);
    if (code !== 0) failures.push(`"sluice ${args.join(' ')}" ended with code ${code}`);
  };
  for (const scene of scenes) {
    options.write(`\n── ${scene.title}\n`);
    await run(['apply', scene.fdl]);
    for (const upload of scene.uploads) await run(['file', 'put', upload.file, upload.to, '--wait']);
    await waitForResults(scene, env, failures);
    await run(['file', 'ls', scene.results]);
    for (const path of scene.show) await run(['file', 'get', path, '-']);
    const last = await lastRun(scene.service, env);
    if (last === undefined) failures.push(`no run of ${scene.service} was found`);
    else await run(['run', 'show', last]);
    if (failures.length > 0) break;
  }
  return failures;
}

/** The second service of a chain starts by itself: its results are there when no run of it is open any more. */
async function waitForResults(scene: Scene, env: NodeJS.ProcessEnv, failures: string[]): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  while (performance.now() < deadline) {
    const [open, done] = await Promise.all([
      runsOf(scene.service, env, 'queued,starting,running'),
      runsOf(scene.service, env, 'succeeded,failed,cancelled,superseded'),
    ]);
    if (open.length === 0 && done.length > 0) return;
    await delay(100);
  }
  failures.push(`${scene.service} did not finish in time`);
}

async function lastRun(service: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  return (await runsOf(service, env, 'succeeded'))[0];
}

async function runsOf(service: string, env: NodeJS.ProcessEnv, states: string): Promise<string[]> {
  let text = '';
  await sluice(['run', 'list', service, '--state', states, '--json'], env, (part) => {
    text += part;
  });
  const { runs } = JSON.parse(text) as { runs: { id: string }[] };
  return runs.map((run) => run.id);
}

async function sluice(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  write: (text: string) => void,
): Promise<number> {
  const child = spawn(process.execPath, [cliBin, ...args], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.setEncoding('utf8').on('data', write);
  child.stderr.setEncoding('utf8').on('data', write);
  await once(child, 'close');
  return child.exitCode ?? 1;
}

async function stayOpen(
  options: DemoOptions,
  server: ChildProcess,
  url: string,
  data: string,
): Promise<void> {
  options.write(
    [
      '',
      `It is still running at ${url}; Ctrl-C ends it and removes ${data}. To try next, in another terminal:`,
      '',
      `  export SLUICE_DATA=${data}`,
      '  npx sluice status',
      `  cp README.md ${data}/buckets/word-count/in/`,
      '  npx sluice run list',
      `  cat ${data}/buckets/word-count/out/README-summary.txt`,
      '',
    ].join('\n'),
  );
  await once(server, 'exit');
}
