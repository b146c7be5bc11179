import { afterAll, beforeAll, expect, test } from 'vitest';
import { startDistributed, type Distributed } from './support/distributed.ts';
import { firstSteps } from './support/smoke.ts';
import { waitFor } from './support/wait.ts';

/* The distributed form as users meet it: two processes of each component, Jobs on the cluster. */

let form: Distributed;
beforeAll(async () => {
  form = await startDistributed();
}, 300_000);
afterAll(async () => {
  await form.close();
});

test('a file becomes a result, and a call is answered', async () => {
  await firstSteps(form.sluice, `upper-${form.namespace}`);
});

test('status and overview tell of the cluster', async () => {
  // Schedulers say it every few seconds, and either api may be asked.
  const overview = await waitFor('a scheduler to be heard', async () => {
    const found = (await (await form.request('/system/overview')).json()) as { adapters: object };
    return JSON.stringify(found.adapters).includes('no scheduler has been heard') ? undefined : found;
  });
  expect(overview.adapters).toMatchObject({
    bus: { chosen_by: 'NATS_URL' },
    ledger: { chosen_by: 'REDIS_URL' },
    executor: { adapter: 'kubernetes' },
  });
  const status = (await (await form.request('/system/status')).json()) as {
    cluster: { nodes_count: number };
  };
  expect(status.cluster.nodes_count).toBeGreaterThan(0);
});

interface Found {
  readonly component?: string;
  readonly check: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly detail: string;
}

async function doctor(): Promise<{ readonly code: number | null; readonly checks: readonly Found[] }> {
  const { code, stdout } = await form.sluice('doctor', '--json');
  return { code, checks: (JSON.parse(stdout) as { checks: Found[] }).checks };
}

test('doctor tells what every component finds, and which one is not there', async () => {
  // At first what they say is of their start, when the ledger was still being set up.
  const whole = await waitFor('all processes to be heard, and well', async () => {
    const found = await doctor();
    const heard = found.checks.filter(({ detail }) => detail === '2 processes.');
    return heard.length === 3 && found.code === 0 ? found : undefined;
  });
  expect(whole.checks.filter(({ status }) => status === 'fail')).toEqual([]);
  const seen = new Set(whole.checks.map(({ component, check }) => `${component ?? ''} ${check}`));
  for (const one of [
    'api NATS streams',
    'api Redis',
    'scheduler Kubernetes rights',
    'scheduler S3 keys of pods',
    'storage-events S3 notifications',
  ])
    expect(seen).toContain(one);

  const killed = form.components.filter(({ name }) => name === 'storage-events');
  await Promise.all(killed.map((one) => one.stop('SIGKILL')));
  const without = await waitFor(
    'the missing component to be told',
    async () => {
      const found = await doctor();
      return found.code === 1 ? found : undefined;
    },
    60_000,
  );
  expect(without.checks.filter(({ status }) => status === 'fail')).toMatchObject([
    { component: 'installation', check: 'storage-events' },
  ]);
  await Promise.all(killed.map((one) => one.start()));
});
