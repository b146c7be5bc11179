import type { KubeConnection } from '@sluice/scheduler/adapters';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { kubectl, startDistributed, type Distributed } from '../../e2e/support/distributed.ts';
import { createService, tokenOf } from '../../e2e/support/service.ts';
import { waitFor } from '../../e2e/support/wait.ts';
import { timed, type Target } from '../calls.ts';
import { percentile } from './figures.ts';
import type { Part, PartDeps } from './parts.ts';
import { connectKube } from './world.ts';

/** The same for both sides: an image with a shell and Node. */
const image = 'node:24-bookworm-slim';
const resources = { cpu: '0.5', memory: '128Mi' } as const;
const script = 'cat "$INPUT_FILE_PATH"\n';
const port = 8000;

/** `POST /run` on a warm runner beside a pod that does nothing but spawn the same script; and the first call of each. */
export const benchDistributedCalls: Part = async (deps) => {
  const form = await startDistributed({ replicas: 1 });
  const kube = await connectKube(form.jobs);
  try {
    await service(form, 'warm', 1);
    const sluice = await targetOf(form, 'warm');
    const bare = await barePod(kube, 'bare');
    for (let round = 0; round < deps.amounts.repeat; round += 1) {
      await warm(deps, sluice, bare);
      await cold(deps, form, kube, round);
    }
  } finally {
    await kube.close();
    await form.close();
  }
};

async function service(form: Distributed, name: string, minScale: number): Promise<void> {
  const more = { image, ...resources, input: [], output: [] };
  await createService(form, name, script, { ...more, synchronous: { min_scale: minScale, max_scale: 1 } });
}

async function targetOf(form: Distributed, name: string): Promise<Target> {
  const token = await tokenOf(form, name);
  // Past the balancer, which is this program's own.
  return { url: `${form.apis[0] ?? ''}/run/${name}`, headers: { authorization: `Bearer ${token}` } };
}

/** Both sides take turns, so that whatever else the machine does meets both. */
async function warm({ amounts, figures, say }: PartDeps, sluice: Target, bare: Target): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times = { bare: [] as number[], sluice: [] as number[] };
  for (const target of [bare, sluice]) await timed(target, agent, 20, 1);
  while (times.bare.length < amounts.calls) {
    times.bare.push(...(await timed(bare, agent, 5, 1)));
    times.sluice.push(...(await timed(sluice, agent, 5, 1)));
  }
  agent.destroy();
  const [with50, without50] = [percentile(times.sluice, 50), percentile(times.bare, 50)];
  say(`calls: ${with50.toFixed(1)} ms, bare pod ${without50.toFixed(1)} ms`);
  figures.note('call of a bare pod, p50', 'ms', without50);
  figures.note('POST /run, warm, p50', 'ms', with50);
  figures.note('  more by, p50', 'ms', with50 - without50);
  figures.note('  more by, p99', 'ms', percentile(times.sluice, 99) - percentile(times.bare, 99));
}

async function cold({ figures, say }: PartDeps, form: Distributed, kube: KubeConnection, round: number) {
  const name = `cold-${round}`;
  await service(form, name, 0);
  const target = await targetOf(form, name);
  const agent = new Agent();
  const started = performance.now();
  await timed(target, agent, 1, 1);
  const ours = performance.now() - started;
  const begun = performance.now();
  await timed(await barePod(kube, `bare-${name}`), agent, 1, 1);
  const bare = performance.now() - begun;
  agent.destroy();
  say(`first call: ${ours.toFixed(0)} ms, bare pod ${bare.toFixed(0)} ms`);
  figures.note('first call, bare pod', 'ms', bare, 0);
  figures.note('first call, no runner', 'ms', ours, 0);
  await form.request(`/system/services/${name}`, { method: 'DELETE' });
  await kubectl('delete', 'pod', `bare-${name}`, '-n', form.jobs, '--wait=false');
}

/** A pod with `bare-server.ts`, once it answers. */
async function barePod(kube: KubeConnection, name: string): Promise<Target> {
  const source = await readFile(new URL('../bare-server.ts', import.meta.url), 'utf8');
  const program = 'printf %s "$SCRIPT" > /tmp/script; printf %s "$SERVER" > /tmp/server.ts;';
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      containers: [
        {
          name: 'bare',
          image,
          command: ['/bin/sh', '-c', `${program} exec node /tmp/server.ts /tmp /tmp/script ${port} 0.0.0.0`],
          env: [
            { name: 'SCRIPT', value: script },
            { name: 'SERVER', value: source },
          ],
          resources: { requests: resources, limits: resources },
        },
      ],
    },
  };
  await kube.create('pods', pod);
  return waitFor(
    `the pod ${name} to answer`,
    async () => {
      const pod = (await kube.read('pods', name)) as { status?: { podIP?: string } } | undefined;
      const podIP = pod?.status?.podIP;
      if (podIP === undefined) return undefined;
      const url = `http://${podIP}:${port}/`;
      return (await opens(podIP)) ? { url, headers: {} } : undefined;
    },
    120_000,
    5,
  );
}

/** Whether the port takes connections now: one whose first packet came too early would wait for a minute. */
async function opens(host: string): Promise<boolean> {
  const socket = connect(port, host);
  const opened = await Promise.race([
    once(socket, 'connect').then(
      () => true,
      () => false,
    ),
    delay(200, false),
  ]);
  socket.destroy();
  return opened;
}
