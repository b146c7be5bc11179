// Runs the test tiers with vitest, refuses skips that are not listed with a reason, and ends with one line of totals.
import './require-node.mjs';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const real = process.argv.includes('--real');
const passedOn = process.argv.slice(2).filter((argument) => argument !== '--real');
const projects = real ? ['real'] : ['unit', 'int', 'e2e'];
const folder = mkdtempSync(join(tmpdir(), 'sluice-tests-'));
const report = join(folder, 'report.json');

const vitest = spawn(
  process.execPath,
  [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    ...projects.flatMap((project) => ['--project', project]),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    // Each of these files has servers, processes and pods of its own at work; with three at a time some wait longer than they allow for.
    ...(real ? ['--maxWorkers=2'] : []),
    ...passedOn,
  ],
  { cwd: root, stdio: 'inherit' },
);
vitest.on('close', (code) => {
  process.exitCode = code === 0 ? summarise() : (summarise(), 1);
  rmSync(folder, { recursive: true, force: true });
});

function summarise() {
  let results;
  try {
    results = JSON.parse(readFileSync(report, 'utf8'));
  } catch (error) {
    process.stdout.write(`vitest left no report: ${error.message}\n0 passed, 1 failed, 0 skipped\n`);
    return 1;
  }
  const allowed = JSON.parse(readFileSync(join(root, 'tools/allowed-skips.json'), 'utf8'));
  const tests = results.testResults.flatMap((file) => file.assertionResults);
  const skipped = tests.filter((test) => test.status !== 'passed' && test.status !== 'failed');
  const unlisted = skipped.filter((test) => allowed[test.fullName] === undefined);
  for (const test of skipped) {
    process.stdout.write(
      `skipped: ${test.fullName} (${allowed[test.fullName] ?? 'NOT LISTED in tools/allowed-skips.json'})\n`,
    );
  }
  // A file that fails to load has no tests of its own; vitest counts it only among the suites.
  const broken = results.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  );
  const failed = tests.filter((test) => test.status === 'failed').length + broken.length + unlisted.length;
  const passed = tests.filter((test) => test.status === 'passed').length;
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
  return failed === 0 && passed > 0 ? 0 : 1;
}
