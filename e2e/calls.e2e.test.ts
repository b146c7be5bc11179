import { afterAll, beforeAll } from 'vitest';
import { describeCalls } from './suites/calls.suite.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld({ SLUICE_CALL_WAIT: '30', SLUICE_MAX_RUNNERS: '16' });
});
afterAll(() => world.close());

describeCalls(() => world);
