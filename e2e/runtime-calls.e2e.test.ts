import { afterAll, beforeAll } from 'vitest';
import { describeRuntimeCalls } from './suites/runtime-calls.suite.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld();
});
afterAll(() => world.close());

describeRuntimeCalls(() => world);
