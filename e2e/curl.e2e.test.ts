import { afterAll, beforeAll } from 'vitest';
import { describeCurl } from './suites/curl.suite.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld();
});
afterAll(() => world.close());

describeCurl(() => world);
