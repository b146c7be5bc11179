import { readFileSync, writeSync } from 'node:fs';
import { createLeanS3Store, createObjectRunLogs } from '@sluice/shared/adapters';
import { podFolder, type StorageGrant } from '@sluice/shared/contracts';
import { runToEnd, systemClock as clock } from '@sluice/shared/lifecycle';
import { openPodScripts } from './adapters/pod-scripts.ts';
import { createSchedulerClient } from './adapters/scheduler-client.ts';
import { loadPodConfig } from './pod/config.ts';
import { hostRunner } from './pod/host-runner.ts';
import { createPlainLog } from './pod/plain-log.ts';
import { createRelief } from './pod/relief.ts';
import { runAttempt } from './pod/run-attempt.ts';
import { createStorageKeys } from './pod/storage-keys.ts';

const log = createPlainLog((line) => writeSync(2, line), clock.now);
const passed = createRelief(globalThis.gc);

void runToEnd(async (signal) => {
  const config = loadPodConfig(process.env, (path) => readFileSync(path, 'utf8'));
  // Before all else: the main container waits for the pipes.
  const patient = config.self.kind === 'runner';
  const scripts = await openPodScripts({ folder: podFolder, clock, patient });
  const scheduler = createSchedulerClient({
    url: config.schedulerUrl,
    token: config.token.reveal(),
    self: config.self,
  });
  const openObjects = (first: StorageGrant) =>
    createLeanS3Store({
      endpoint: new URL(first.endpoint),
      region: first.region,
      verify: first.verify,
      ca: first.ca,
      now: clock.now,
      onBytes: passed,
      keys: createStorageKeys({ first, renew: scheduler.storage, clock }),
    });
  const { instance, graceMs } = config;
  const common = {
    scripts,
    scheduler,
    folder: podFolder,
    pod: config.self.pod,
    instance,
    signal,
    graceMs,
    clock,
    log,
  };
  if (config.self.kind === 'runner') return hostRunner({ ...common, openObjects, port: config.runnerPort });
  return runAttempt({
    ...common,
    openObjects,
    openLogs: (objects, maxBytes) => createObjectRunLogs({ objects, clock, maxBytes }),
    print,
  });
});

/** Copies to the pod's own log; whoever reads that slowly makes the script wait. */
async function print(chunk: Uint8Array): Promise<void> {
  passed(chunk.length);
  if (process.stdout.write(chunk)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  process.stdout.once('drain', resolve);
  await promise;
}
