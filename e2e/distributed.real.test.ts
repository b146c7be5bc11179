import { afterAll, beforeAll, expect, test } from 'vitest';
import { startDistributed, type Distributed } from './support/distributed.ts';
import { firstSteps } from './support/smoke.ts';

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
  const overview = (await (await form.request('/system/overview')).json()) as { adapters: object };
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
