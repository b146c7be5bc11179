import { afterAll, beforeAll } from 'vitest';
import { describeLogs } from './suites/logs.suite.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld();
});
afterAll(() => world.close());

describeLogs(() => world);
