import { AppError } from '@sluice/shared/errors';
import { childTraceparent, traceIdOf, type SpanOptions, type Tracer } from '@sluice/shared/telemetry';
import { expect, test } from 'vitest';
import type { BuildSpec } from '../ports.ts';
import { startBuildTrace } from './build-trace.ts';

interface Told {
  readonly name: string;
  readonly options: SpanOptions;
  readonly traceparent: string;
  readonly attributes: Record<string, string | number | boolean>;
  error?: string;
  ended?: number | 'now';
}

function recorder(): { readonly tracer: Tracer; readonly told: Told[] } {
  const told: Told[] = [];
  const tracer: Tracer = {
    context: childTraceparent,
    startSpan: (name, options = {}) => {
      const traceparent = childTraceparent(options.parent);
      const one: Told = { name, options, traceparent, attributes: { ...options.attributes } };
      told.push(one);
      return {
        traceparent,
        setAttribute: (key, value) => {
          one.attributes[key] = value;
        },
        recordError: (code) => {
          one.error = code;
        },
        end: (at) => {
          one.ended = at ?? 'now';
        },
      };
    },
    shutdown: () => Promise.resolve(),
  };
  return { tracer, told };
}

const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const spec: BuildSpec = {
  user: 'anna',
  kind: 'python',
  source: 'docker.io/library/python',
  baseDigest: `sha256:${'0'.repeat(64)}`,
  baseUser: '',
  file: 'six\n',
  toolImage: '',
  platforms: [],
  sbom: false,
  provenance: false,
  repository: 'registry.test:5000/anna',
  contentTag: 'sluice-python-0123456789abcdef0123',
  force: false,
  traceparent: parent,
};
const build = { id: 'b1', spec, createdAt: 1000 };

test('a build is in the trace of its request, its parts and stages in it', async () => {
  const { tracer, told } = recorder();
  const trace = startBuildTrace(tracer, build, 1, 5000);
  const steps = ['[1/2] FROM docker.io/library/python', '[1/2] FROM x', undefined, '[2/2] RUN sh'];
  await trace.part('buildkit', async (of) => {
    const stages = trace.stages(of);
    for (const step of [...steps, 'exporting to image'])
      stages.heed({ done: 0, total: 1, ...(step === undefined ? {} : { step }) });
    stages.end();
  });
  trace.end('succeeded');
  expect(trace.traceId).toBe(traceIdOf(parent));
  const [queue, whole, part, ...stages] = told;
  expect(queue).toMatchObject({
    name: 'queue build python',
    options: { parent, startTime: 1000 },
    ended: 5000,
  });
  expect(whole).toMatchObject({ options: { parent }, attributes: { 'sluice.result': 'succeeded' } });
  expect(part?.options.parent).toBe(whole?.traceparent);
  expect(stages.map(({ name }) => name)).toEqual(['buildkit pull', 'buildkit install', 'buildkit push']);
  expect(stages.every((one) => one.options.parent === part?.traceparent)).toBe(true);
  expect(told.every(({ ended }) => ended !== undefined)).toBe(true);
});

test('what fails is marked by a word, and no text of the user gets into a span', async () => {
  const { tracer, told } = recorder();
  const trace = startBuildTrace(tracer, build, 2, 5000);
  const error = new AppError('unprocessable', 'secret-six failed', {
    details: { reason: 'requirements_failed' },
  });
  await expect(trace.part('buildkit', () => Promise.reject(error))).rejects.toBe(error);
  await expect(trace.part('tag', () => Promise.reject(new Error('secret')))).rejects.toThrow('secret');
  trace.end('failed', 'requirements_failed');
  expect(told.map(({ name, error: word }) => [name, word])).toEqual([
    ['build python', 'requirements_failed'],
    ['buildkit', 'requirements_failed'],
    ['tag', 'internal'],
  ]);
  expect(JSON.stringify(told)).not.toMatch(/secret|six/);
});

test('a build that an earlier version stored begins a trace of its own', () => {
  const { tracer } = recorder();
  const trace = startBuildTrace(tracer, { ...build, spec: { ...spec, traceparent: undefined } }, 1, 2);
  expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/);
});
