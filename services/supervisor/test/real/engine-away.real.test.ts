import { eventually } from '@sluice/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openContainerHost, parseEngineAddress } from '../../src/adapters/index.ts';
import { systemClock as clock } from '@sluice/shared/lifecycle';
import { silentLogger } from '@sluice/shared/telemetry';
import {
  createContainerHarness,
  createEngineProxy,
  type ContainerHarness,
  type EngineProxy,
} from './container-support.ts';

/* The engine is the real one, behind a door that can be shut. */

let proxy: EngineProxy;
let harness: ContainerHarness;
beforeEach(async () => {
  proxy = await createEngineProxy();
  harness = await createContainerHarness(proxy.address);
});
afterEach(async () => {
  await harness.close();
  await proxy.cut();
});

test.each(['/start', '/wait'])(
  'an engine that goes away after %s: the attempt is lost, and its container removed when the engine is back',
  async (call) => {
    const performing = harness.perform({ script: 'echo begins; sleep 600\n', timeout_ms: 600_000 });
    await eventually(`${call} to be answered`, () => proxy.answered(call), 60_000);
    expect((await harness.containers()).length).toBe(1);
    await proxy.cut();
    const { outcome } = await performing;
    expect(outcome).toMatchObject({
      result: 'lost',
      script_started: true,
      failure: { code: 'script_lost' },
    });
    expect(outcome.failure?.message).toContain('went out of sight');
    await proxy.mend();
    await eventually(
      'its container to be removed',
      async () => (await harness.containers()).length === 0,
      30_000,
    );
  },
);

test('an engine that is away before the start: worth another try, which works when it is back', async () => {
  await proxy.cut();
  const away = await harness.perform({ script: 'true\n' });
  expect(away.outcome).toMatchObject({ result: 'failed', script_started: false, retryable: true });
  expect(away.outcome.failure?.message).toContain(proxy.address);
  await proxy.mend();
  expect((await harness.perform({ script: 'true\n' })).outcome.result).toBe('succeeded');
});

test('an engine that does not answer at the start is said with what to mend', async () => {
  await proxy.cut();
  const opening = openContainerHost({
    address: parseEngineAddress(proxy.address),
    instance: 'x',
    user: { uid: 0, gid: 0 },
    loginsDir: harness.dir,
    clock,
    log: silentLogger(),
  });
  await expect(opening).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(
      /^DOCKER_HOST: .*Start the engine, correct the address, or unset DOCKER_HOST/,
    ) as string,
  });
  await proxy.mend();
});
