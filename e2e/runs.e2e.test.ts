import { afterAll, beforeAll } from 'vitest';
import { describeRuns } from './suites/runs.suite.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld();
});
afterAll(() => world.close());

describeRuns(() => world);
