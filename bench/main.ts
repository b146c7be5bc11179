import { parseArgs } from 'node:util';
import { benchCalls, type CallsBenchOptions } from './calls.ts';
import { benchStandalone, type BenchOptions } from './standalone.ts';
import { benchTracing } from './tracing.ts';

const usage = `Usage: npm run bench -- standalone|tracing [--repeat 5] [--runs 1000] [--submits 10000] [--finished 100000] [--concurrency 8]
       npm run bench -- calls [--repeat 5] [--calls 300]
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repeat: { type: 'string', default: '5' },
    runs: { type: 'string', default: '1000' },
    submits: { type: 'string', default: '10000' },
    finished: { type: 'string', default: '100000' },
    concurrency: { type: 'string', default: '8' },
    calls: { type: 'string', default: '300' },
  },
});

const programs: Readonly<Record<string, (options: BenchOptions & CallsBenchOptions) => Promise<void>>> = {
  standalone: benchStandalone,
  tracing: benchTracing,
  calls: benchCalls,
};
const program = programs[positionals[0] ?? ''];
if (program === undefined) {
  process.stderr.write(usage);
  process.exitCode = 2;
} else {
  await program({
    repeat: Number(values.repeat),
    runs: Number(values.runs),
    submits: Number(values.submits),
    finished: Number(values.finished),
    concurrency: Number(values.concurrency),
    calls: Number(values.calls),
    write: (text) => process.stdout.write(text),
  });
}
