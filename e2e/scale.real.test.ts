import { readdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { root, run } from './support/server.ts';

// The same test as in the quick tier, at full size: ten thousand files of 1 KiB.
test('10,000 files, five kills: every file has one outcome and one output', async () => {
  expect(await readdir(`${root}/e2e`)).toContain('kill.e2e.test.ts');
  const done = await run(
    process.execPath,
    [`${root}/node_modules/vitest/vitest.mjs`, 'run', '--project', 'e2e', 'e2e/kill.e2e.test.ts'],
    { env: { SLUICE_KILL_FILES: '10000' } },
  );
  expect(done.code, done.stdout + done.stderr).toBe(0);
});
