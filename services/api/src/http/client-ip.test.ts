import { expect, test } from 'vitest';
import { clientIp } from './client-ip.ts';

const from = (ip: string, headers: Record<string, string> = {}) => clientIp({ ip, headers });

test.each([
  ['127.0.0.1', { 'x-forwarded-for': '203.0.113.7, 10.0.0.1' }, '203.0.113.7'],
  ['::ffff:10.1.2.3', { 'x-real-ip': '203.0.113.7' }, '203.0.113.7'],
  ['::1', { 'x-forwarded-for': '2001:db8::1', 'x-real-ip': '203.0.113.7' }, '2001:db8::1'],
  ['fd00::1', { 'x-forwarded-for': ' 203.0.113.7 ' }, '203.0.113.7'],
  ['172.31.0.1', { 'x-forwarded-for': '203.0.113.7' }, '203.0.113.7'],
  // Nothing that is no address gets into a log.
  ['127.0.0.1', { 'x-forwarded-for': 'evil | 200 |' }, '127.0.0.1'],
  ['127.0.0.1', { 'x-forwarded-for': 'unknown', 'x-real-ip': '203.0.113.7' }, '203.0.113.7'],
  ['127.0.0.1', { 'x-forwarded-for': '' }, '127.0.0.1'],
  ['127.0.0.1', {}, '127.0.0.1'],
  // A stranger may not say who it is.
  ['198.51.100.1', { 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '127.0.0.1' }, '198.51.100.1'],
  ['172.32.0.1', { 'x-forwarded-for': '127.0.0.1' }, '172.32.0.1'],
  ['::ffff:198.51.100.1', { 'x-forwarded-for': '127.0.0.1' }, '198.51.100.1'],
  ['2001:db8::2', { 'x-forwarded-for': '127.0.0.1' }, '2001:db8::2'],
])('%s with %j is %s', (ip, headers, expected) => {
  expect(from(ip, headers)).toBe(expected);
});
