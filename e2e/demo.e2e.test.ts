import { expect, test } from 'vitest';
import { root, run } from './support/server.ts';

test('the demo shows the results of all three examples and ends with 0', async () => {
  const demo = await run(process.execPath, [`${root}/apps/standalone/bin/sluice-demo.mjs`]);
  expect(demo.stderr).toBe('');
  expect(demo.code, demo.stdout).toBe(0);
  for (const part of [
    'npx sluice apply examples/thumbnail/thumbnail.yaml',
    'sunset-small.jpg',
    'sunset-grey.jpg',
    'badge-grey.png',
    'harbour-summary.txt',
    'pipeline/reports/',
    'succeeded',
    'All three examples gave their results.',
  ]) {
    expect(demo.stdout).toContain(part);
  }
  expect(demo.stdout).not.toMatch(/failed|Error/);
});
