import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { podFolder, podShim, podShimIn } from './pod-shim.ts';

test('the shim is for the folder that pods have, or for another one', () => {
  expect(podShim).toContain(`_f='${podFolder}'\n`);
  expect(podShimIn('/tmp/x')).toContain("_f='/tmp/x'\n");
  expect(podShim).not.toContain('@');
});

test('the shim is text that a shell takes, and small enough for one argument', () => {
  expect(() => execFileSync('/bin/sh', ['-n', '-c', podShim])).not.toThrow();
  expect(podShim.length).toBeLessThan(4096);
});
