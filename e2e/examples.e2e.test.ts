import { afterAll, beforeAll } from 'vitest';
import { describeExamples } from './suites/examples.suite.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld();
});
afterAll(() => world.close());

describeExamples(() => world);
