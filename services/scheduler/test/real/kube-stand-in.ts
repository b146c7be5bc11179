import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { createRunnerServer, createSupervisor } from '@sluice/supervisor';
import { podFolder, podVariables, type RunnerGrant } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { createChildProcessScripts } from '../../../supervisor/src/adapters/child-process-script.ts';

/*
 * What a supervisor does in a runner's pod, with scripts as processes beside it instead of the main container. Bundled, and fetched by the container that stands
 * in for the supervisor's image.
 */
const env = (name: keyof typeof podVariables): string => process.env[podVariables[name]] ?? '';

/** The shim waits for these. */
function openPipes(): void {
  const made = `${podFolder}/pipes.new`;
  mkdirSync(made);
  for (const name of ['wake', 'done', 'out', 'shim', 'script'])
    execFileSync('mkfifo', ['-m', '666', `${made}/${name}`]);
  renameSync(made, `${podFolder}/pipes`);
}

async function claim(): Promise<RunnerGrant & { readonly key: string }> {
  const body = {
    pod: env('pod'),
    service: env('service'),
    service_uid: env('serviceUid'),
    service_version: Number(env('serviceVersion')),
  };
  const response = await fetch(`${env('schedulerUrl')}/v1/runners/${env('runnerId')}/claim`, {
    method: 'POST',
    headers: { authorization: `Bearer ${env('token')}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`no claim: ${response.status} ${await response.text()}`);
  return (await response.json()) as RunnerGrant & { readonly key: string };
}

const away = (): Promise<never> => Promise.reject(new AppError('unavailable', 'there is no store here'));
const log = silentLogger();
openPipes();
const { plan, key } = await claim();
const scripts = createChildProcessScripts({ pipeDir: '/tmp/pipes', graceMs: 200, clock, log });
const supervisor = createSupervisor({
  objects: { get: away, head: away, put: away },
  scripts,
  scriptCacheDir: '/tmp/scripts',
  baseEnv: { PATH: process.env['PATH'] ?? '' },
  hostName: 'pod',
  instance: env('instance'),
  clock,
  log,
});
const server = createRunnerServer({ perform: supervisor.perform, key, workRoot: '/tmp/work', clock, log });
await server.start();
const inner = new URL(server.open(plan, { scripts }).url);
createServer((socket) => {
  const to = connect(Number(inner.port), inner.hostname);
  socket.pipe(to).pipe(socket);
  socket.on('error', () => to.destroy());
  to.on('error', () => socket.destroy());
}).listen(Number(env('runnerPort')), '::');
process.on('SIGTERM', () => {
  void server.stop(0).then(() => process.exit(0));
});
