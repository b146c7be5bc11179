import { afterAll, beforeAll } from 'vitest';
import { describeOscarWire } from './suites/oscar-wire.suite.ts';
import { standaloneWorld, type World } from './support/world.ts';

let world: World;
beforeAll(async () => {
  world = await standaloneWorld();
});
afterAll(() => world.close());

describeOscarWire(() => world);
