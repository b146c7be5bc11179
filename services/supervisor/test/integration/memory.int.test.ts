import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const program = fileURLToPath(new URL('memory-child.ts', import.meta.url));

interface Measured {
  readonly result: string;
  readonly bytes: number;
  /** Most memory of the process, in MiB, and before the run. */
  readonly peak: number;
  readonly before: number;
}

/** In a process of its own with a small heap, so that nothing else is measured. */
async function measure(what: 'log' | 'file'): Promise<Measured> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--max-old-space-size=48',
    '--disable-warning=ExperimentalWarning',
    program,
    what,
  ]);
  return JSON.parse(stdout) as Measured;
}

test('a gigabyte of log', { timeout: 120_000 }, async () => {
  const { result, bytes, peak, before } = await measure('log');
  expect(result).toBe('succeeded');
  expect(bytes).toBe(1024 ** 3);
  expect(peak - before).toBeLessThan(60);
});

test('a file of 300 MB in and out', { timeout: 120_000 }, async () => {
  const { result, bytes, peak, before } = await measure('file');
  expect(result).toBe('succeeded');
  expect(bytes).toBe(300_000_000);
  expect(peak - before).toBeLessThan(60);
});
