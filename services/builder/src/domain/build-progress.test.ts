import { expect, test } from 'vitest';
import { createProgressReader } from './build-progress.ts';

const at = '2026-01-02T03:04:05.678Z';
const status = (value: object): string => JSON.stringify(value);
const started = (digest: string, name: string): object => ({ digest, name, started: at });
const done = (digest: string, name: string, more: object = {}): object => ({
  ...started(digest, name),
  completed: at,
  ...more,
});
const output = (vertex: string, data: string | Buffer, stream = 1): object => ({
  vertex,
  stream,
  data: Buffer.from(data).toString('base64'),
  timestamp: at,
});

test('steps are told when they begin and end, and counted', () => {
  const reader = createProgressReader();
  expect(
    reader.take(status({ vertexes: [started('i', '[internal] load build definition from Dockerfile')] })),
  ).toEqual([]);
  const names = ['[1/2] FROM busybox', '[2/2] RUN make', 'exporting to image'];
  const known = names.map((name, index) => ({ digest: `d${index}`, name }));
  expect(reader.take(status({ vertexes: known }))).toEqual([]);
  expect(reader.progress()).toEqual({ done: 0, total: 3 });
  expect(reader.take(status({ vertexes: [done('d0', names[0] ?? '', { cached: true })] }))).toEqual([
    '#1 [1/2] FROM busybox',
    '#1 CACHED',
  ]);
  expect(reader.take(status({ vertexes: [started('d1', names[1] ?? '')] }))).toEqual(['#2 [2/2] RUN make']);
  expect(reader.progress()).toEqual({ done: 1, total: 3, step: '[2/2] RUN make' });
  // The same vertex is sent again with every change.
  expect(reader.take(status({ vertexes: [started('d1', names[1] ?? '')] }))).toEqual([]);
  expect(reader.take(status({ vertexes: [done('d1', names[1] ?? '')] }))).toEqual(['#2 DONE']);
  expect(reader.counts()).toEqual({ steps: 2, cached: 1 });
  expect(reader.failed()).toBeUndefined();
});

test('output comes in lines, however it was cut', () => {
  const reader = createProgressReader();
  reader.take(status({ vertexes: [started('a', '[2/2] RUN x')] }));
  const text = Buffer.from('grün\nhalf');
  expect(reader.take(status({ logs: [output('a', text.subarray(0, 3))] }))).toEqual([]);
  expect(reader.take(status({ logs: [output('a', 'other\n', 2), output('a', text.subarray(3))] }))).toEqual([
    '#1 other',
    '#1 grün',
  ]);
  expect(reader.rest()).toEqual(['#1 half']);
  expect(reader.rest()).toEqual([]);
});

test('what a step printed comes before its end, the rest of a line too', () => {
  const reader = createProgressReader();
  reader.take(status({ vertexes: [started('a', '[2/2] RUN x')] }));
  const both = { vertexes: [done('a', '[2/2] RUN x')], logs: [output('a', 'last')] };
  expect(reader.take(status(both))).toEqual(['#1 last', '#1 DONE']);
});

test('a step that fails leaves its name, its error and its last lines', () => {
  const reader = createProgressReader({ lastLines: 2 });
  const name = '[2/3] RUN pip install -r requirements.txt';
  reader.take(status({ vertexes: [started('a', name), started('b', '[stage 1/1] RUN other')] }));
  reader.take(status({ logs: [output('a', 'one\ntwo\nERROR: No matching distribution found for nope\n')] }));
  const error = 'process "/bin/sh -c pip" did not complete successfully: exit code: 1';
  const lines = reader.take(
    status({
      vertexes: [
        done('b', '[stage 1/1] RUN other', { error: 'context canceled' }),
        done('a', name, { error }),
      ],
    }),
  );
  expect(lines).toEqual(['#2 ERROR: context canceled', `#1 ERROR: ${error}`]);
  expect(reader.failed()).toEqual({
    name,
    error,
    lines: ['two', 'ERROR: No matching distribution found for nope'],
  });
});

test('a cache that is not there yet is no failure', () => {
  const reader = createProgressReader();
  const name = 'importing cache manifest from registry:5000/anna/cache:python';
  expect(reader.take(status({ vertexes: [done('c', name, { error: 'not found' })] }))).toEqual([
    `#1 ${name}`,
    '#1 none is there',
  ]);
  expect(reader.failed()).toBeUndefined();
});

test('what is no JSON is text; the program says last what is wrong', () => {
  const reader = createProgressReader();
  expect(reader.take('time="2026" level=warning msg="odd"')).toEqual(['time="2026" level=warning msg="odd"']);
  expect(reader.said()).toBe('');
  reader.take('error: failed to solve: first line');
  reader.take('second line');
  reader.take('');
  expect(reader.said()).toBe('failed to solve: first line\nsecond line');
  for (const odd of [
    '{',
    '[]',
    '{"vertexes":1,"logs":[1,null,{}],"warnings":{}}',
    '{"vertexes":[{}]}',
    'null',
  ])
    reader.take(odd);
  expect(reader.counts()).toEqual({ steps: 0, cached: 0 });
});

test('a warning of the Dockerfile is told', () => {
  const warning = { vertex: 'a', level: 1, short: Buffer.from('Old form\nof ENV').toString('base64') };
  expect(createProgressReader().take(status({ warnings: [warning] }))).toEqual(['warning: Old form of ENV']);
});

test('everything that is kept has a limit', () => {
  const reader = createProgressReader({ steps: 3, lastLines: 2, lineLength: 50 });
  for (let index = 0; index < 10; index += 1)
    reader.take(status({ vertexes: [started(`d${index}`, `[1/9] ${'n'.repeat(1000)}`)] }));
  expect(reader.counts().steps).toBe(3);
  expect(reader.progress().step?.length).toBeLessThanOrEqual(300);
  for (let index = 0; index < 100; index += 1)
    expect(reader.take(status({ logs: [output('d0', 'x'.repeat(10_000))] }))).toEqual([]);
  expect(reader.take(status({ logs: [output('d0', '\nnext\n')] }))).toEqual([
    `#1 ${'x'.repeat(50)}`,
    '#1 next',
  ]);
  for (let index = 0; index < 100; index += 1)
    reader.take(status({ logs: [output('d0', `\r${index} %${' '.repeat(30)}`)] }));
  expect(reader.take(status({ logs: [output('d0', '\n')] }))[0]?.trimEnd()).toBe('#1 99 %');
  reader.take(`error: ${'e'.repeat(20_000)}`);
  for (let index = 0; index < 1000; index += 1) reader.take('more '.repeat(20));
  expect(reader.said().length).toBeLessThanOrEqual(8192);
});
