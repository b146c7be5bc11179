import { expect, test } from 'vitest';
import { encodePythonJson } from './python-json.ts';

test('keys are in order, at every depth, and a line end follows', () => {
  const value = { status: 'ok', message: 'x', data: { job_name: 'b', id: 'a' }, list: [{ b: 1, a: null }] };
  expect(encodePythonJson(value)).toBe(
    '{"data":{"id":"a","job_name":"b"},"list":[{"a":null,"b":1}],"message":"x","status":"ok"}\n',
  );
});

test('what is not ASCII is escaped as Python does it', () => {
  expect(encodePythonJson({ a: 'ä😀\u007f\n"\\' })).toBe('{"a":"\\u00e4\\ud83d\\ude00\\u007f\\n\\"\\\\"}\n');
});

test('what is undefined is left out', () => {
  expect(encodePythonJson({ b: undefined, a: true })).toBe('{"a":true}\n');
});
