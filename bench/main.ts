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

type Options = BenchOptions & CallsBenchOptions & DistributedBenchOptions;

const programs: Readonly<Record<string, (options: Options) => Promise<void>>> = {
  standalone: benchStandalone,
  tracing: benchTracing,
  calls: benchCalls,
  distributed: benchDistributed,
  builder: benchBuilder,
};

interface Wanted {
  readonly program: (options: Options) => Promise<void>;
  readonly options: Options;
}

/** @throws Error with a sentence for what cannot be meant */
function wantedOf(args: readonly string[]): Wanted {
  const { values, positionals } = parseArgs({
    args: [...args],
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
  const [name = '', ...parts] = positionals;
  const program = programs[name];
  if (program === undefined) throw new Error(name === '' ? 'Say what to measure.' : `No bench "${name}".`);
  const unknown = parts.find((part) => !partNames.includes(part));
  if (unknown !== undefined) throw new Error(`No part "${unknown}".`);
  const { json, definitions, ...counts } = values;
  const [few = '', many = '', ...others] = definitions.split(',');
  if (others.length > 0) throw new Error('--definitions takes two numbers: few,many.');
  const count = (option: keyof typeof counts, least?: number): number =>
    countOf(option, counts[option], least);
  return {
    program,
    options: {
      repeat: count('repeat'),
      runs: count('runs'),
      submits: count('submits'),
      finished: count('finished', 0),
      concurrency: count('concurrency'),
      calls: count('calls'),
      jobs: count('jobs'),
      files: count('files'),
      burst: count('burst'),
      definitions: [countOf('definitions', few, 0), countOf('definitions', many, 0)],
      parts: parts.length === 0 ? partNames : parts,
      json,
      write: (text) => process.stdout.write(text),
    },
  };
}

function countOf(option: string, text: string, least = 1): number {
  if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
  throw new Error(`--${option} takes a whole number from ${least} on, not "${text}".`);
}

let wanted: Wanted | undefined;
try {
  wanted = wantedOf(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  process.exitCode = 2;
}
await wanted?.program(wanted.options);
