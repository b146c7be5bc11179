import { bucketRulesLook, createS3BucketRules, type S3BucketRules } from '@sluice/shared/adapters';
import type { Look } from '@sluice/shared/checks';
import type { Component } from '@sluice/shared/lifecycle';
import type { BucketPath } from '@sluice/shared/stores';
import { createStorageEvents, createWebhook, storageEventsConfig } from '@sluice/storage-events';
import type { NotificationSource } from '@sluice/storage-events';
import { createBusNotifications, createRuledNotifications } from '@sluice/storage-events/adapters';
import { openFindings } from '../findings.ts';
import { openNeighbours, type Neighbours } from '../neighbours.ts';
import type { ProcessDeps, Started } from '../start.ts';
import type { StorageEventsProcessConfig } from '../variables.ts';

/** Notifications in, claimed runs out, as a process of its own. It has no key of secrets and sees none. */
export async function startStorageEvents(
  config: StorageEventsProcessConfig,
  deps: ProcessDeps,
): Promise<Started> {
  const neighbours = await openNeighbours(config, deps, {
    name: 'storage-events',
    notifySubject: config.SLUICE_NOTIFY_SUBJECT,
  });
  const { bus, ledger, definitions, objects, leases, relay } = neighbours;
  const rules = await openRules(config, neighbours);
  const source = composeSource(neighbours, deps, rules);
  const wanted: { paths: readonly BucketPath[] } = { paths: [] };
  const storageEvents = createStorageEvents({
    source: {
      ...source,
      setPrefixes: async (paths) => {
        wanted.paths = paths;
        await source.setPrefixes(paths);
      },
    },
    bus,
    ledger,
    definitions,
    objects,
    leases,
    ...deps,
    // An object on S3 appears complete.
    config: { ...storageEventsConfig(config), settleMs: 0 },
  });
  const webhook = composeWebhook(config, neighbours, deps);
  const working: Component[] = [relay, storageEvents, ...(webhook === undefined ? [] : [webhook])];
  for (const component of working) await component.start();
  const check = async (): Promise<void> => {
    await Promise.all(working.map((component) => component.check()));
  };
  const findings = await openFindings(config, deps, neighbours, {
    component: 'storage-events',
    check,
    notifySubject: config.SLUICE_NOTIFY_SUBJECT,
    looks: rulesLooks(config, deps, rules, () => wanted.paths),
  });
  findings.announce();
  return {
    check,
    steps: [
      { name: 'findings', phase: 'intake', run: () => findings.stop() },
      { name: 'webhook', phase: 'intake', run: async () => webhook?.stop() },
      { name: 'storage-events', phase: 'work', timeoutMs: 30_000, run: () => storageEvents.stop() },
      {
        name: 'neighbours',
        phase: 'connections',
        run: async () => {
          await relay.stop();
          await rules?.close();
          await neighbours.close();
        },
      },
    ],
  };
}

/** Without rules of ours others keep them, or all is found by listing. */
function rulesLooks(
  { SLUICE_NOTIFY_ARN: arn }: StorageEventsProcessConfig,
  { clock }: ProcessDeps,
  rules: S3BucketRules | undefined,
  paths: () => readonly BucketPath[],
): readonly Look[] {
  if (rules === undefined) return [];
  return [bucketRulesLook({ rules, paths: async () => paths(), arn, clock })];
}

async function openRules(
  config: StorageEventsProcessConfig,
  { s3 }: Neighbours,
): Promise<S3BucketRules | undefined> {
  const { SLUICE_NOTIFY_ARN: arn, SLUICE_NAMESPACE: namespace } = config;
  return arn === 'none' ? undefined : createS3BucketRules({ connection: s3.connection, arn, namespace });
}

function composeSource(
  { bus, objects, leases }: Neighbours,
  { clock, log }: ProcessDeps,
  rules: S3BucketRules | undefined,
): NotificationSource {
  const source = createBusNotifications({ bus, objects, identity: 'notification', clock });
  return rules === undefined ? source : createRuledNotifications({ source, rules, leases, clock, log });
}

function composeWebhook(
  config: StorageEventsProcessConfig,
  { bus }: Neighbours,
  { log }: ProcessDeps,
): Component | undefined {
  const { SLUICE_WEBHOOK_TOKEN: token, SLUICE_WEBHOOK_HOST: host, SLUICE_WEBHOOK_PORT: port } = config;
  return token === undefined ? undefined : createWebhook({ bus, token, host, port, log });
}
