import { isAppError } from '@sluice/shared/errors';
import { expect, test } from 'vitest';
import { callTimeoutMs, scriptHeaders } from './call-request.ts';

test('the script sees no credentials, nothing of the connection, nothing of ours', () => {
  const headers = {
    host: 'localhost:8080',
    authorization: 'Bearer secret',
    cookie: 'a=b',
    connection: 'keep-alive, X-Hop',
    'x-hop': '1',
    'keep-alive': 'timeout=5',
    'transfer-encoding': 'chunked',
    te: 'trailers',
    upgrade: 'websocket',
    expect: '100-continue',
    proxy: 'http://evil',
    'proxy-authorization': 'Basic eA==',
    'x-sluice-call': 'e30',
    'content-type': 'text/csv',
    'x-forwarded-for': '10.0.0.1',
    'set-cookie': ['a', 'b'],
  };
  expect(scriptHeaders(headers)).toEqual({
    host: 'localhost:8080',
    'content-type': 'text/csv',
    'x-forwarded-for': '10.0.0.1',
    'set-cookie': 'a, b',
  });
});

test('too many or too long headers are refused', () => {
  const many = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, 'v']));
  expect(Object.keys(scriptHeaders(many(100)))).toHaveLength(100);
  const refusal = (headers: Record<string, string>): unknown => {
    try {
      return scriptHeaders(headers);
    } catch (error) {
      return error;
    }
  };
  expect(isAppError(refusal(many(101)), 'invalid_input')).toBe(true);
  expect(isAppError(refusal({ x: 'v'.repeat(16_384) }), 'invalid_input')).toBe(true);
});

test('a definition may shorten the time of a call', () => {
  expect([callTimeoutMs(undefined, 5000), callTimeoutMs(2, 5000), callTimeoutMs(9, 5000)]).toEqual([
    5000, 2000, 5000,
  ]);
});
