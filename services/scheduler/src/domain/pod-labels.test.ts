import { expect, test } from 'vitest';
import { attemptOf, jobName, labelValue, podSelector } from './pod-labels.ts';

test.each([
  ['demo-2b1f0c3e-0000-8000-8000-000000000000', /^demo-2b1f0c3e-0000-8000-8000-0000000-[0-9a-f]{20}-1$/],
  ['Ä_ö', /^run-[0-9a-f]{20}-1$/],
  ['UPPER..case', /^upper-case-[0-9a-f]{20}-1$/],
  ['x'.repeat(200), /^x{36}-[0-9a-f]{20}-1$/],
])('the Job of %s has a name that is a DNS label', (runId, form) => {
  const name = jobName('sluice', { run_id: runId, attempt: 1 });
  expect(name).toMatch(form);
  expect(name.length).toBeLessThanOrEqual(63);
  expect(jobName('sluice', { run_id: runId, attempt: 1 })).toBe(name);
});

test('names differ by run, attempt and installation, whatever their readable parts', () => {
  const names = [
    jobName('a', { run_id: 'demo_1', attempt: 1 }),
    jobName('a', { run_id: 'demo-1', attempt: 1 }),
    jobName('a', { run_id: 'demo-1', attempt: 2 }),
    jobName('b', { run_id: 'demo-1', attempt: 1 }),
    jobName('a', { run_id: 'demo-1', attempt: 12_345 }),
    jobName('a', { run_id: 'demo-1', attempt: 12_346 }),
  ];
  expect(new Set(names).size).toBe(names.length);
  expect(Math.max(...names.map((name) => name.length))).toBeLessThanOrEqual(63);
});

test.each([
  ['demo', 'demo'],
  ['', ''],
  ['a_b.c-D', 'a_b.c-D'],
])('the label of %j is itself', (text, label) => {
  expect(labelValue(text)).toBe(label);
});

test('other labels are made of what can be kept and a hash', () => {
  expect(labelValue('auth0|a/b')).toMatch(/^auth0-a-b-[0-9a-f]{16}$/);
  expect(labelValue('auth0|a/b')).not.toBe(labelValue('auth0-a-b'));
  expect(labelValue('ü')).toMatch(/^[0-9a-f]{16}$/);
  expect(labelValue('x'.repeat(64))).toMatch(/^x{40}-[0-9a-f]{16}$/);
});

test('an object says which attempt it is of', () => {
  const labels = { 'sluice.internal/run': 'demo-1', 'sluice.internal/attempt': '2' };
  expect(attemptOf({ labels })).toEqual({ run_id: 'demo-1', attempt: 2 });
  expect(attemptOf({ labels, annotations: { 'sluice.internal/run-id': 'long' } })).toEqual({
    run_id: 'long',
    attempt: 2,
  });
  expect(attemptOf({ labels: { 'sluice.internal/run': 'demo-1' } })).toBeUndefined();
  expect(attemptOf({})).toBeUndefined();
});

test('objects are selected by installation and kind', () => {
  expect(podSelector('sluice', 'runner')).toBe('sluice.internal/instance=sluice,sluice.internal/kind=runner');
});
