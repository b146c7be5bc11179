import type { AttemptPlan, Run } from '@sluice/shared/contracts';
import { definitionOf } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { jobManifest, type JobSettings } from './job-manifest.ts';
import { podTemplate } from './pod-spec.ts';
import { createRunReader } from './run-annotation.ts';

const settings: JobSettings = {
  instance: 'sluice',
  supervisorImage: 'supervisor:1',
  schedulerUrl: 'http://scheduler:8081',
  ttlSeconds: 60,
  waitSeconds: 100,
  transferSeconds: 10,
};

const plan: AttemptPlan = {
  run_id: 'demo-0f',
  attempt: 2,
  service_uid: 'uid',
  service_version: 4,
  definition: definitionOf('demo', {
    image: 'busybox',
    labels: { team: 'a' },
    annotations: { note: 'b' },
    environment: { variables: { A: 'open' }, secrets: {} },
  }),
  script: 'echo the script',
  secrets: { token: 'the-service-token', environment: { KEY: 'the-secret' } },
  event: { kind: 'inline', encoding: 'utf8', data: '{"the":"event"}' },
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  hop: 0,
  timeout_ms: 1500,
};

function runWith(event: Run['event']): Run {
  return {
    id: plan.run_id,
    service: 'demo',
    service_uid: 'uid',
    state: 'starting',
    attempt: 2,
    source: 'job',
    event,
    traceparent: plan.traceparent,
    hop: 0,
    created_at: 1,
    infra_failures: 0,
    script_failures: 0,
    timeline: [{ at: 1, attempt: 1, state: 'queued' }],
  };
}

test('the Job of an attempt', () => {
  const job = jobManifest({ plan, run: undefined, token: 't', image: undefined }, settings);
  const labels = {
    ...job.spec?.template.metadata?.labels,
    'sluice.internal/run': 'demo-0f',
    'sluice.internal/attempt': '2',
    team: 'a',
  };
  expect(job).toEqual({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: expect.stringMatching(/^demo-0f-[0-9a-f]{20}-2$/) as string,
      labels,
      annotations: { note: 'b' },
    },
    spec: {
      backoffLimit: 0,
      podReplacementPolicy: 'Failed',
      ttlSecondsAfterFinished: 60,
      activeDeadlineSeconds: 112,
      template: podTemplate(
        {
          kind: 'attempt',
          definition: plan.definition,
          serviceUid: 'uid',
          serviceVersion: 4,
          image: undefined,
          token: 't',
          environment: { SLUICE_RUN_ID: 'demo-0f', SLUICE_ATTEMPT: '2' },
          labels: { 'sluice.internal/run': 'demo-0f', 'sluice.internal/attempt': '2' },
          annotations: {},
        },
        settings,
      ),
    },
  });
});

test('nothing of a service but its shape is in the Job: neither secrets nor variables, script or event', () => {
  const text = JSON.stringify(jobManifest({ plan, run: undefined, token: 't', image: undefined }, settings));
  for (const kept of ['the-service-token', 'the-secret', 'echo the script', 'the\\":', '"open"']) {
    expect(text).not.toContain(kept);
  }
});

test('a run id that is no label is kept beside it', () => {
  const odd = { ...plan, run_id: 'ü'.repeat(80) };
  const { metadata } = jobManifest({ plan: odd, run: undefined, token: 't', image: undefined }, settings);
  expect(metadata?.annotations).toMatchObject({ 'sluice.internal/run-id': odd.run_id });
  expect(metadata?.labels?.['sluice.internal/run']).toMatch(/^[0-9a-f]{16}$/);
});

const read = createRunReader();
const inline = (data: string): Run['event'] => ({ kind: 'inline', encoding: 'utf8', data });

test('the run is kept with the Job, without its time line, and can be read again', () => {
  const run = runWith(inline('{}'));
  const job = jobManifest({ plan, run, token: 't', image: undefined }, settings);
  expect(read(job)).toEqual({ ...run, timeline: [] });
  expect(job.spec?.template.metadata?.annotations).not.toHaveProperty('sluice.internal/run');
});

test('an event that is too large stays out, and is said to be missing', () => {
  const run = runWith(inline('x'.repeat(9000)));
  const job = jobManifest({ plan, run, token: 't', image: undefined }, settings);
  expect(job.metadata?.annotations).toMatchObject({ 'sluice.internal/event': 'omitted' });
  expect(read(job)?.event).toEqual({ kind: 'object', key: 'events/not-kept/demo-0f', size: 9000 });
});

test('beside large annotations of the user there may be no room for the run', () => {
  const definition = { ...plan.definition, annotations: { big: 'x'.repeat(245_700) } };
  const job = jobManifest(
    { plan: { ...plan, definition }, run: runWith(inline('{}')), token: 't', image: undefined },
    settings,
  );
  expect(read(job)).toBeUndefined();
  expect(Object.keys(job.metadata?.annotations ?? {})).toEqual(['big']);
});

test.each([undefined, 'no json', '{"id":1}'])('what is no run is not read as one: %j', (text) => {
  const annotations = text === undefined ? {} : { 'sluice.internal/run': text };
  expect(read({ metadata: { annotations } })).toBeUndefined();
});
