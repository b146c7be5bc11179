import { afterAll, beforeAll } from 'vitest';
import { describeCli } from './suites/cli.suite.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld();
});
afterAll(() => world.close());

describeCli(() => world);
