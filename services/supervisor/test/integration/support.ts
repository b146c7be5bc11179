import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AttemptOutcome, AttemptPlan, ObjectRef } from '@sluice/shared/contracts';
import { systemClock } from '@sluice/shared/lifecycle';
import type { ObjectHead } from '@sluice/shared/stores';
import { silentLogger, type Logger } from '@sluice/shared/telemetry';
import { definitionOf } from '@sluice/shared/testing';
import { createChildProcessScripts } from '../../src/adapters/index.ts';
import {
  createSupervisor,
  type AttemptContext,
  type ScriptRunner,
  type Supervisor,
  type SupervisorLimits,
} from '../../src/index.ts';
import type { SupervisorStore } from './memory-store.ts';

type Definition = AttemptPlan['definition'];

export interface PlanOptions extends Omit<Partial<AttemptPlan>, 'definition' | 'event'> {
  readonly definition?: Partial<Definition>;
  /** Text, or bytes that are not text. */
  readonly body?: string | Uint8Array;
  readonly event?: AttemptPlan['event'];
}

export interface Performed {
  readonly outcome: AttemptOutcome;
  readonly log: string;
  readonly phases: readonly string[];
}

export interface Harness {
  readonly dir: string;
  readonly instance: string;
  readonly supervisor: Supervisor;
  readonly scripts: ScriptRunner;
  workDir(plan: AttemptPlan): string;
  plan(options?: PlanOptions): AttemptPlan;
  perform(options?: PlanOptions, context?: Partial<AttemptContext>): Promise<Performed>;
  close(): Promise<void>;
}

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
let runs = 0;

export function tempFolder(): string {
  return mkdtempSync(join(tmpdir(), 'sluice-supervisor-'));
}

export function createHarness(
  objects: SupervisorStore,
  options: {
    limits?: Partial<SupervisorLimits>;
    graceMs?: number;
    log?: Logger;
    scripts?: ScriptRunner;
  } = {},
): Harness {
  const dir = tempFolder();
  const instance = `test-${dir.slice(-6)}`;
  const processes = createChildProcessScripts({
    clock: systemClock,
    pipeDir: join(dir, 'pipes'),
    graceMs: options.graceMs ?? 300,
  });
  const scripts = options.scripts ?? processes;
  const supervisor = createSupervisor({
    objects,
    scripts,
    clock: systemClock,
    log: options.log ?? silentLogger(),
    instance,
    hostName: 'test-host',
    baseEnv: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: dir },
    scriptCacheDir: join(dir, 'scripts'),
    limits: options.limits ?? {},
  });
  const workDir = (plan: AttemptPlan): string => join(dir, 'work', `${plan.run_id}.${plan.attempt}`);
  return {
    dir,
    instance,
    supervisor,
    scripts,
    workDir,
    plan: testPlan,
    perform: async (planOptions = {}, context = {}) => {
      const plan = testPlan(planOptions);
      const log: Uint8Array[] = [];
      const phases: string[] = [];
      const outcome = await supervisor.perform(plan, {
        workDir: workDir(plan),
        output: { write: async (chunk) => void log.push(chunk) },
        report: (progress) => void phases.push(progress.phase),
        signal: new AbortController().signal,
        ...context,
      });
      return { outcome, log: Buffer.concat(log).toString(), phases };
    },
    close: async () => {
      await processes.stop();
      const work = join(dir, 'work');
      const left = existsSync(work) ? readdirSync(work) : [];
      if (left.length > 0) throw new Error(`work folders are left: ${left.join(' ')}`);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function payload(body: string | Uint8Array): AttemptPlan['event'] {
  return typeof body === 'string'
    ? { kind: 'inline', encoding: 'utf8', data: body }
    : { kind: 'inline', encoding: 'base64', data: Buffer.from(body).toString('base64') };
}

export function testPlan(options: PlanOptions = {}): AttemptPlan {
  const { definition, body, ...rest } = options;
  runs += 1;
  return {
    run_id: `demo-${process.pid}-${runs}`,
    attempt: 1,
    service_uid: 'u',
    service_version: 1,
    script: 'true\n',
    secrets: { token: 'a'.repeat(64), environment: {} },
    event: payload(body ?? '{}'),
    traceparent,
    hop: 0,
    timeout_ms: 30_000,
    ...rest,
    definition: { ...baseDefinition, ...definition },
  };
}

export const output = (path: string, more = {}): Definition['output'][number] => ({
  storage_provider: 'minio.default',
  path,
  ...more,
});

const baseDefinition: Definition = definitionOf('demo', {
  image: 'none',
  input: [],
  output: [output('photos/out')],
});

export function refOf(info: ObjectHead): ObjectRef {
  const { bucket, key, size, etag, identity, lastModified } = info;
  return { bucket, key, size, etag, identity, last_modified: lastModified };
}

/** The event that a MinIO server would send for an object. */
export function minioEvent(bucket: string, key: string): string {
  const encoded = encodeURIComponent(key);
  return JSON.stringify({
    EventName: 's3:ObjectCreated:Put',
    Key: `${bucket}/${key}`,
    Records: [
      {
        eventSource: 'minio:s3',
        eventTime: '2026-01-02T03:04:05.678Z',
        eventName: 's3:ObjectCreated:Put',
        s3: { bucket: { name: bucket }, object: { key: encoded } },
      },
    ],
  });
}

export async function readAll(store: SupervisorStore, bucket: string, key: string): Promise<string> {
  const { body } = await store.get(bucket, key);
  const chunks: Uint8Array[] = [];
  for await (const chunk of body as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** Waits for a condition; fails after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await systemClock.sleep(5);
  }
}
