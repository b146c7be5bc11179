// Run under a small `ulimit -n`: takes every descriptor, then reads an output as an attempt does, and prints how that ends.
import { openSync } from 'node:fs';
import { AttemptStop } from '../../src/domain/attempt-stop.ts';
import { listOutputFiles, openOutput } from '../../src/files/output-files.ts';

const [root = ''] = process.argv.slice(2);
const { files } = await listOutputFiles(root, 10);
try {
  for (;;) openSync('/dev/null', 'r');
} catch {
  // As many as there are.
}
const tell = (error: unknown): unknown =>
  error instanceof AttemptStop
    ? { code: error.code, retryable: error.retryable, text: error.message }
    : String(error);
const ends: unknown[] = [];
await listOutputFiles(root, 10).catch((error: unknown) => ends.push(tell(error)));
try {
  for (const file of files) openOutput(root, file);
} catch (error) {
  ends.push(tell(error));
}
process.stdout.write(JSON.stringify(ends));
