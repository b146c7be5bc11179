import { truncateSync } from 'node:fs';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTestStore } from './folder-store.ts';
import { createHarness, refOf } from './support.ts';

const mebibyte = 1024 * 1024;
const store = await openTestStore();
const harness = createHarness(store.objects);
try {
  await harness.perform();
  const before = process.memoryUsage().rss;
  let bytes = 0;
  let result: string;
  if (process.argv[2] === 'log') {
    const { outcome } = await harness.perform(
      { script: 'head -c 1073741824 /dev/zero' },
      { output: { write: async (chunk) => void (bytes += chunk.length) } },
    );
    result = outcome.result;
  } else {
    const path = join(store.buckets, 'photos', 'in', 'large');
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, '');
    truncateSync(path, 300_000_000);
    const head = await store.objects.head('photos', 'in/large');
    if (head === undefined) throw new Error('no input');
    const { outcome } = await harness.perform({
      input: refOf(head),
      script: 'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/large"',
    });
    result = outcome.result;
    bytes = outcome.outputs[0]?.size ?? 0;
  }
  const peak = process.resourceUsage().maxRSS / 1024;
  process.stdout.write(JSON.stringify({ result, bytes, peak, before: before / mebibyte }));
} finally {
  await harness.close();
  await store.close();
}
