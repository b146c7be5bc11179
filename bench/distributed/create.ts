import { randomBytes, randomUUID } from 'node:crypto';
import { createKubeConnection, createKubeExecutor, loadKubeTarget } from '@sluice/scheduler/adapters';
import type { Reservation } from '@sluice/scheduler';
import { Secret } from '@sluice/shared/config';
import type { Run } from '@sluice/shared/contracts';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import { Pool } from 'undici';
import { kubectl, needed } from '../../e2e/support/distributed.ts';
import { planOf } from '../../services/scheduler/test/plan.ts';
import { rate } from './figures.ts';
import type { Part } from './parts.ts';
import { removeJobs } from './world.ts';

const widths = [8, 32] as const;

interface JobBody {
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

interface Made {
  readonly perSecond: number;
  readonly bodies: readonly JobBody[];
}

/** Jobs made by the scheduler's executor beside the same bodies from a bare client. They are suspended: what their pods cost is not measured. */
export const benchCreate: Part = async ({ amounts, figures, say }) => {
  const namespace = `bench-${randomBytes(5).toString('hex')}`;
  await kubectl('create', 'namespace', namespace);
  try {
    for (let round = 0; round < amounts.repeat; round += 1) {
      for (const width of widths) {
        const made = await byExecutor(namespace, amounts.jobs, width);
        await removeJobs(namespace);
        const bare = await byPool(namespace, made.bodies, width);
        await removeJobs(namespace);
        say(`create, ${width} wide: ${made.perSecond.toFixed(0)}/s of ${bare.toFixed(0)}/s`);
        figures.note(`Jobs made by a bare client, ${width} wide`, '/s', bare);
        figures.note(`Jobs made by the executor, ${width} wide`, '/s', made.perSecond);
        figures.note(`  ratio of the two, ${width} wide`, '', made.perSecond / bare, 2);
      }
    }
  } finally {
    await kubectl('delete', 'namespace', namespace, '--wait=false');
  }
};

async function byExecutor(namespace: string, amount: number, width: number): Promise<Made> {
  const target = await loadKubeTarget(needed('KUBECONFIG'));
  const connection = await createKubeConnection({ target, namespace, clock, random: Math.random });
  const bodies: JobBody[] = [];
  const executor = createKubeExecutor({
    connection: {
      ...connection,
      create: async (resource, object) => {
        const job = object as JobBody;
        const body = { ...job, spec: { ...job.spec, suspend: true } };
        bodies.push(body);
        return connection.create(resource, body);
      },
    },
    settings: {
      instance: namespace,
      supervisorImage: 'busybox',
      schedulerUrl: 'http://scheduler.invalid',
    },
    // While a start is under way it counts twice: as what is reserved and as what was begun.
    slots: amount + width,
    maxPending: amount + width,
    tokenKey: new Secret('k'.repeat(32)),
    standingOf: () => Promise.resolve('starting'),
    readOutcome: () => Promise.resolve(undefined),
    note: () => Promise.resolve(),
    clock,
    random: Math.random,
    log: silentLogger(),
  });
  try {
    await executor.attempts();
    const perSecond = await rate(amount, width, async () => {
      const plan = planOf('true\n');
      const reservation: Reservation | undefined = await executor.reserve({ cpuMillis: 1, memoryBytes: 1 });
      if (reservation === undefined) throw new Error('the executor has no room');
      await executor.start(plan, reservation, runOf(plan.run_id));
    });
    return { perSecond, bodies };
  } finally {
    await executor.stop(1000);
    await connection.close();
  }
}

/** As the ledger has it, for the Job's annotation. */
function runOf(id: string): Run {
  return {
    id,
    service: 'demo',
    service_uid: 'uid',
    service_version: 1,
    source: 'job',
    state: 'starting',
    attempt: 1,
    hop: 0,
    event: { kind: 'inline', encoding: 'utf8', data: '{"hello":"world"}' },
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    created_at: clock.now(),
    timeline: [],
    infra_failures: 0,
    script_failures: 0,
  };
}

async function byPool(namespace: string, bodies: readonly JobBody[], width: number): Promise<number> {
  const { server, tls, headers } = await loadKubeTarget(needed('KUBECONFIG'));
  const pool = new Pool(server.origin, { connect: tls, connections: width, pipelining: 1 });
  const path = `${server.pathname.replace(/\/$/, '')}/apis/batch/v1/namespaces/${namespace}/jobs`;
  const given = { 'content-type': 'application/json', ...(await headers()) };
  try {
    return await rate(bodies.length, width, async (index) => {
      const job = bodies[index];
      if (job === undefined) throw new Error('unreachable');
      const body = JSON.stringify({ ...job, metadata: { ...job.metadata, name: `bare-${randomUUID()}` } });
      const answer = await pool.request({ method: 'POST', path, headers: given, body });
      const text = await answer.body.text();
      if (answer.statusCode !== 201) throw new Error(text);
      JSON.parse(text);
    });
  } finally {
    await pool.close();
  }
}
