import { parseArgs } from 'node:util';
import { benchBuilder } from './builder.ts';
import { benchCalls, type CallsBenchOptions } from './calls.ts';
import { benchDistributed, partNames, type DistributedBenchOptions } from './distributed.ts';
import { benchStandalone, type BenchOptions } from './standalone.ts';
import { benchTracing } from './tracing.ts';

const usage = `Usage: npm run bench -- standalone|tracing [--repeat 5] [--runs 1000] [--submits 10000] [--finished 100000] [--concurrency 8]
       npm run bench -- calls [--repeat 5] [--calls 300]
       npm run bench -- builder [--repeat 5]
       npm run bench -- distributed [${partNames.join('|')}…] [--repeat 5] [--submits 10000] [--jobs 500] [--files 30] [--burst 1000] [--definitions 10,2000] [--calls 300] [--json FILE]
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
    jobs: { type: 'string', default: '500' },
    files: { type: 'string', default: '30' },
    burst: { type: 'string', default: '1000' },
    definitions: { type: 'string', default: '10,2000' },
    json: { type: 'string' },
  },
});

type Options = BenchOptions & CallsBenchOptions & DistributedBenchOptions;

const programs: Readonly<Record<string, (options: Options) => Promise<void>>> = {
  standalone: benchStandalone,
  tracing: benchTracing,
  calls: benchCalls,
  distributed: benchDistributed,
  builder: benchBuilder,
};
const [name = '', ...parts] = positionals;
const program = programs[name];
if (program === undefined || parts.some((part) => !partNames.includes(part))) {
  process.stderr.write(usage);
  process.exitCode = 2;
} else {
  const [few = 10, many = 2000] = values.definitions.split(',').map(Number);
  await program({
    repeat: Number(values.repeat),
    runs: Number(values.runs),
    submits: Number(values.submits),
    finished: Number(values.finished),
    concurrency: Number(values.concurrency),
    calls: Number(values.calls),
    jobs: Number(values.jobs),
    files: Number(values.files),
    burst: Number(values.burst),
    definitions: [few, many],
    parts: parts.length === 0 ? partNames : parts,
    json: values.json,
    write: (text) => process.stdout.write(text),
  });
}
