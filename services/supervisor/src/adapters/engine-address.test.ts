import { expect, test } from 'vitest';
import { parseEngineAddress } from './engine-address.ts';

test.each([
  ['unix:///run/docker.sock', { socketPath: '/run/docker.sock' }],
  ['tcp://127.0.0.1:2376', { host: '127.0.0.1', port: 2376 }],
  ['tcp://engine', { host: 'engine', port: 2375 }],
  ['http://[::1]:80/', { host: '::1', port: 80 }],
])('%s is an address', (text, expected) => {
  expect(parseEngineAddress(text)).toEqual({ text, ...expected });
});

test.each([
  ['unix://docker.sock', 'names no socket'],
  ['unix://', 'names no socket'],
  ['/run/docker.sock', 'is not an address'],
  ['tcp://host:0', 'is not an address'],
  ['tcp://host:99999', 'is not an address'],
  ['tcp://user:password@host', 'is not an address'],
  ['https://host:2376', 'must run on this machine'],
  ['ssh://me@host', 'must run on this machine'],
])('%s is refused', (text, sentence) => {
  expect(() => parseEngineAddress(text)).toThrow(sentence);
});
