import { runDemo } from './demo.ts';

const keep = process.argv.includes('--keep');
process.exitCode = await runDemo({ keep, env: process.env, write: (text) => process.stdout.write(text) });
