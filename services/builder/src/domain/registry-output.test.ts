import { expect, test } from 'vitest';
import { collectedOf, freedBytes, usedBytesOf } from './registry-output.ts';

test('numbers of a collection', () => {
  expect(collectedOf('70 blobs marked, 5 blobs and 12 manifests eligible for deletion')).toEqual({
    blobs: 5,
    manifests: 12,
  });
  expect(collectedOf('blob eligible for deletion: sha256:1')).toBeUndefined();
});

test('storage', () => {
  expect(usedBytesOf('300\t/var/lib/registry')).toBe(307_200);
  expect(usedBytesOf('300')).toBe(307_200);
  expect(usedBytesOf('300MB /var')).toBeUndefined();
  expect(usedBytesOf('du: cannot access')).toBeUndefined();
  expect(freedBytes(500, 200)).toBe(300);
  expect(freedBytes(200, 500)).toBe(0);
  expect(freedBytes(undefined, 500)).toBeUndefined();
});
