import { afterAll, beforeAll, describe } from 'vitest';
import { describeCalls } from './suites/calls.suite.ts';
import { describeCli } from './suites/cli.suite.ts';
import { describeCurl } from './suites/curl.suite.ts';
import { describeExamples } from './suites/examples.suite.ts';
import { describeLiveEvents } from './suites/live-events.suite.ts';
import { describeLogs } from './suites/logs.suite.ts';
import { describeOscarPython } from './suites/oscar-python.suite.ts';
import { describeOscarWire } from './suites/oscar-wire.suite.ts';
import { describeRuns } from './suites/runs.suite.ts';
import { describeRuntimeCalls } from './suites/runtime-calls.suite.ts';
import { describeRuntimeRoutes } from './suites/runtime-routes.suite.ts';
import { describeS3, theirTarget } from './suites/s3.suite.ts';
import { pushExampleImages } from './support/images.ts';
import { distributedWorld, type DistributedWorld } from './support/world.ts';

/*
 * What the standalone form is held to, on the distributed one: two processes of each component, Jobs and warm pods on the cluster, one start for all. For the
 * standalone form alone are: tests of its folders, its database and its one process (first start, full disk, retention, kill, storm, faults, shutdown, secrets);
 * `/system/status` of this machine; the page of metrics and traces, which are one process's; hostile bodies and routes, which end in the api; setup, demo and docs.
 */

let world: DistributedWorld;
const it = (): DistributedWorld => world;

beforeAll(async () => {
  await pushExampleImages();
  world = await distributedWorld({ env: { SLUICE_RUNNER_IDLE: '20' }, minio: theirTarget });
}, 300_000);
afterAll(async () => {
  await world?.close();
});

describe('curl', () => {
  describeCurl(it);
});
describe('logs', () => {
  describeLogs(it);
});
describe('runs', () => {
  describeRuns(it);
});
describe('examples', () => {
  describeExamples(it);
});
describe('the wire of OSCAR', () => {
  describeOscarWire(it);
});
describe('live events', () => {
  describeLiveEvents(it);
});
describe('the client', () => {
  describeCli(it);
});
describe('calls', () => {
  describeCalls(it);
});
describe('runtime calls', () => {
  describeRuntimeCalls(it);
});
describe('runtime routes', () => {
  describeRuntimeRoutes(it);
});
describe('S3', () => {
  describeS3(it);
});
describe('oscar-python', () => {
  describeOscarPython(it);
});
