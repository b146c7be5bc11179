import { buffer } from 'node:stream/consumers';
import { createObjectRunLogs, type S3ObjectStore } from '@sluice/shared/adapters';
import { outcomeKey, type AttemptGrant, type OutcomeRecord } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import { SYSTEM_BUCKET, type ObjectHead } from '@sluice/shared/stores';
import { definitionOf } from '@sluice/shared/testing';
import {
  kubectl,
  podManifest,
  randomName,
  startScheduler,
  storageGrant,
  type PodParts,
  type StubScheduler,
} from './pod-support.ts';

/** Where a file's pods are, and what they have in common. */
export interface PodPlace {
  readonly namespace: string;
  readonly bucket: string;
  readonly token: string;
  readonly store: S3ObjectStore;
  readonly supervisor: string;
}

export interface AttemptParts extends Partial<PodParts> {
  readonly timeoutMs?: number;
  readonly refuse?: boolean;
  /** @default 5 bytes */
  readonly input?: ObjectHead;
  readonly grant?: Partial<AttemptGrant>;
}

export interface StartedAttempt {
  readonly runId: string;
  readonly service: string;
  readonly scheduler: StubScheduler;
  outcome(): Promise<OutcomeRecord | undefined>;
  log(): Promise<string>;
  textOf(key: string): Promise<string>;
}

/** Starts a pod for one attempt. */
export async function startAttempt(
  { namespace, bucket, token, store, supervisor }: PodPlace,
  script: string,
  { timeoutMs = 60_000, refuse = false, input: given, grant: more, ...parts }: AttemptParts = {},
): Promise<StartedAttempt> {
  const service = randomName('svc');
  const runId = randomName(service);
  const input = given ?? (await store.put(bucket, `in/${runId}/a.txt`, Buffer.from('hello')));
  const definition = definitionOf(service, {
    output: [{ storage_provider: 'minio.default', path: `${bucket}/out/${runId}` }],
  });
  const { key, size, etag, identity, lastModified } = input;
  const grant: AttemptGrant = {
    plan: {
      run_id: runId,
      attempt: 1,
      service_uid: 'uid',
      service_version: 1,
      definition,
      script,
      secrets: { token: 'service-token', environment: {}, storage_providers: {} } as never,
      event: { kind: 'inline', encoding: 'utf8', data: '{"a":1}' },
      input: { bucket, key, size, etag, identity, last_modified: lastModified },
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      hop: 0,
      timeout_ms: timeoutMs,
    },
    storage: storageGrant(),
    limits: { output_bytes: 2 ** 31, log_bytes: 100_000 },
    ...more,
  };
  const scheduler = await startScheduler(token, () => (refuse ? undefined : grant));
  const env = {
    mode: 'run',
    schedulerUrl: scheduler.url,
    pod: runId,
    token,
    graceSeconds: '20',
    runId,
    attempt: '1',
  };
  const manifest = podManifest({ name: runId, supervisor, image: 'busybox', env, ...parts });
  await kubectl(['apply', '-n', namespace, '-f', '-'], manifest);
  const ref = { service, runId };
  const textOf = async (where: string, name: string): Promise<string> => {
    const { body } = await store.get(where, name);
    return (await buffer(body)).toString();
  };
  return {
    runId,
    service,
    scheduler,
    outcome: async () => {
      const name = outcomeKey({ service, runId, attempt: 1 });
      if ((await store.head(SYSTEM_BUCKET, name)) === undefined) return undefined;
      return JSON.parse(await textOf(SYSTEM_BUCKET, name)) as OutcomeRecord;
    },
    log: async () => {
      const logs = createObjectRunLogs({ objects: store, clock: systemClock });
      const chunk = await logs.read(ref, { offset: 0, limit: 1_000_000 });
      return Buffer.from(chunk?.data ?? []).toString();
    },
    textOf: async (name) => textOf(bucket, `out/${runId}/${name}`),
  };
}
