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

test.each([
  [['everything'], 'No bench "everything".'],
  [['distributed', 'everything'], 'No part "everything".'],
  [['calls', '--calls', 'many'], '--calls takes a whole number from 1 on, not "many".'],
  [['distributed', '--definitions', '10'], '--definitions takes a whole number from 0 on, not "".'],
  [['--rounds', '5'], "Unknown option '--rounds'."],
] as const)('%s is answered with what is wrong and the usage', async (args, sentence) => {
  const done = await run(process.execPath, [join(root, 'bench/main.ts'), ...args]);
  expect(done.code).toBe(2);
  expect(done.stderr).toContain(sentence);
  expect(done.stderr).toContain('Usage: npm run bench');
});
