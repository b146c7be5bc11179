import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root, run } from './support/server.ts';

// Whether the measuring programs still work, at the smallest size; their figures say nothing here.
test.each([
  [['standalone', '--runs', '4', '--submits', '300', '--finished', '0'], /ratio/],
  [['tracing', '--runs', '4', '--submits', '300'], /traces sampled 1 %[^\n]*\n {2}ratio to off/],
  [['calls', '--calls', '8'], /p50, POST \/run, 8 wide/],
] as const)('npm run bench -- %s', async (args, line) => {
  const done = await run(process.execPath, [join(root, 'bench/main.ts'), ...args, '--repeat', '1']);
  expect(done.code, done.stdout + done.stderr).toBe(0);
  expect(done.stdout).toMatch(line);
});

test('an unknown name is answered with the usage', async () => {
  const done = await run(process.execPath, [join(root, 'bench/main.ts'), 'everything']);
  expect(done.code).toBe(2);
  expect(done.stderr).toContain('Usage: npm run bench');
});
