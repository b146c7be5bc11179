import { AppError } from '@sluice/shared/errors';
import { eventually } from '@sluice/shared/testing';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Reservation, RunnerHost } from '../../src/index.ts';
import { invokeRunner, reachable, runnerPlanOf } from '../runner-calls.ts';
import { describeRunnerHost } from '../runner-host.suite.ts';
import { kubeRunnerWorld, type KubeRunnerWorld } from './kube-runner-world.ts';

let world: KubeRunnerWorld;
const hosts: RunnerHost[] = [];

beforeAll(async () => {
  world = await kubeRunnerWorld();
}, 600_000);
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close(0);
  await world.clear();
  await eventually('all pods to be gone', async () => (await world.pods()).length === 0, 60_000);
});
afterAll(() => world.close());

function open(more: Parameters<KubeRunnerWorld['host']>[0] = {}): RunnerHost {
  const host = world.host(more);
  hosts.push(host);
  return host;
}
const room = (): Reservation & { readonly held: () => boolean } => {
  let held = true;
  return {
    release: () => {
      held = false;
    },
    held: () => held,
  };
};

describeRunnerHost('pods', () => {
  const host = world.host();
  return Promise.resolve({ host, key: world.key, close: () => host.close(0), roomUntil: 'started' });
});

test('another replica adopts what one has left, and both see all', async () => {
  const [first, second] = [open(), open()];
  const plan = runnerPlanOf('echo one\n');
  const { url } = await first.start(plan, room());
  expect(await second.runners()).toEqual(await first.runners());
  await first.leave(0);
  const reservation = room();
  expect(await second.adopt(plan.runner_id, reservation)).toEqual({ url });
  expect(reservation.held()).toBe(false);
  expect(await invokeRunner(reachable(world.key, plan.runner_id, url))).toMatchObject({ status: 200 });
  // Neither the end of the first nor a start that it repeats changes anything.
  await first.close(0);
  expect((await world.pods()).length).toBe(1);
  await second.stop(plan.runner_id, 0);
  expect(await second.runners()).toEqual([]);
});

test('one that drains is not adopted, and can be stopped by whoever finds it', async () => {
  const [first, second] = [open(), open()];
  const plan = runnerPlanOf('sleep 2; echo done\n');
  const { url } = await first.start(plan, room());
  const runner = reachable(world.key, plan.runner_id, url);
  const call = invokeRunner(runner);
  await eventually('the call to be in hand', () => first.isBusy(plan.runner_id), 10_000);
  const stopped = first.stop(plan.runner_id, 60_000);
  await eventually('it to drain', async () => (await invokeRunner(runner)).status === 503, 10_000);
  await first.leave(0);
  await stopped;
  await expect(second.adopt(plan.runner_id, room())).rejects.toMatchObject({ code: 'conflict' });
  await second.stop(plan.runner_id, 60_000);
  expect(await call).toMatchObject({ status: 200, text: 'done\n\n' });
  expect((await world.pods()).length).toBe(0);
});

test('a pod that is deleted by others is told', async () => {
  const host = open();
  const exits: [string, string][] = [];
  host.onExit((id, reason) => void exits.push([id, reason]));
  const plan = runnerPlanOf('true\n');
  await host.start(plan, room());
  const [pod] = await world.pods();
  await world.core.deleteNamespacedPod({ name: pod?.metadata?.name ?? '', namespace: world.namespace });
  await eventually('word of it', () => exits.length === 1, 30_000);
  expect(exits).toEqual([[plan.runner_id, 'Its pod was deleted.']]);
  expect(await host.runners()).toEqual([]);
});

test('a container that dies is told, with its status, and its pod is removed', async () => {
  const host = open();
  const exits: [string, string][] = [];
  host.onExit((id, reason) => void exits.push([id, reason]));
  const plan = runnerPlanOf('echo >/sluice/release 7; echo >/sluice/pipes/wake\n');
  const { url } = await host.start(plan, room());
  // What its supervisor would write to let the container end, written by a script.
  await invokeRunner(reachable(world.key, plan.runner_id, url)).catch(() => undefined);
  await eventually('word of it', () => exits.length === 1, 30_000);
  expect(exits[0]?.[1]).toMatch(/^The container ended with status 7/);
  await eventually('its pod to be gone', async () => (await world.pods()).length === 0, 60_000);
});

test.each([
  [
    'an image that is not there',
    { image: 'no-such-image:ever' },
    /^The image no-such-image:ever cannot be pulled: /,
  ],
  ['more than any node has', { memory: '900Gi' }, /^No node of the cluster has room for the pod: /],
])('%s: the sentence that a person needs, and nothing is left', async (_name, more, expected) => {
  const host = open({ timing: { nodeMs: 1000, startMs: 150_000 } });
  const plan = runnerPlanOf('true\n');
  const reservation = room();
  const failure = await host
    .start({ ...plan, definition: { ...plan.definition, ...more } }, reservation)
    .then(
      () => undefined,
      (error: unknown) => error,
    );
  expect(failure).toBeInstanceOf(AppError);
  expect(failure).toMatchObject({ retry: 'later', message: expect.stringMatching(expected) });
  await eventually('its pod to be gone', async () => (await world.pods()).length === 0, 60_000);
  // The host hears of it a moment later.
  await eventually('its room to be given back', () => !reservation.held());
});

test('no more than the limit, over all replicas', async () => {
  const [first, second] = [open({ limit: 1 }), open({ limit: 1 })];
  await first.start(runnerPlanOf('true\n'), room());
  await second.runners();
  await eventually('the other one to know', async () => (await second.runners()).length === 1, 10_000);
  await expect(second.start(runnerPlanOf('true\n'), room())).rejects.toMatchObject({ code: 'limit_reached' });
});
