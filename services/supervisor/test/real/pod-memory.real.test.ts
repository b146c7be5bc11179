import { Readable } from 'node:stream';
import type { S3ObjectStore } from '@sluice/shared/adapters';
import { SYSTEM_BUCKET } from '@sluice/shared/stores';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAttempt, type AttemptParts, type StartedAttempt } from './pod-attempt.ts';
import { builtImage, kubectl, openStore, podEnd, randomName } from './pod-support.ts';

const namespace = randomName('pods');
const bucket = randomName('pods');
const token = 'a-token-of-one-pod';
/** Four times the memory. */
const bigBytes = 256 * 2 ** 20;
let store: S3ObjectStore;
let supervisor: string;

beforeAll(async () => {
  supervisor = await builtImage('supervisor');
  store = await openStore();
  await Promise.all([store.createBucket(SYSTEM_BUCKET, {}), store.createBucket(bucket, {})]);
  await kubectl(['create', 'namespace', namespace]);
}, 600_000);

afterAll(async () => {
  await kubectl(['delete', 'namespace', namespace, '--wait=false']);
  await store.deleteBucket(bucket);
  await store.close();
}, 60_000);

async function start(script: string, parts: AttemptParts = {}): Promise<StartedAttempt> {
  return startAttempt({ namespace, bucket, token, store, supervisor }, script, parts);
}

/** Waits for the end, to which the supervisor has to come the first time. */
async function succeeds(run: StartedAttempt): Promise<void> {
  const status = await podEnd(namespace, run.runId);
  expect(status.initContainerStatuses?.[0]?.restartCount).toBe(0);
  expect((await run.outcome())?.outcome).toMatchObject({ result: 'succeeded' });
  await run.scheduler.close();
}

describe('a supervisor with 64 MiB of memory', () => {
  it('uploads a file of 256 MiB', async () => {
    const run = await start(`head -c ${bigBytes} /dev/zero > "$TMP_OUTPUT_DIR/big"`);
    await succeeds(run);
    expect((await store.head(bucket, `out/${run.runId}/big`))?.size).toBe(bigBytes);
  });

  it('fetches a file of 256 MiB', async () => {
    const piece = Buffer.alloc(2 ** 20);
    const body = Readable.from(
      (function* pieces() {
        for (let sent = 0; sent < bigBytes; sent += piece.length) yield piece;
      })(),
      { objectMode: false },
    );
    const input = await store.put(bucket, 'in/big', body, { size: bigBytes });
    const run = await start('wc -c < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/size"', { input });
    await succeeds(run);
    expect((await run.textOf('size')).trim()).toBe(`${bigBytes}`);
  });

  it('uploads a thousand files', async () => {
    const run = await start(
      'i=0; while [ $i -lt 1000 ]; do echo $i > "$TMP_OUTPUT_DIR/$i"; i=$((i + 1)); done',
    );
    await succeeds(run);
    expect(await run.textOf('999')).toBe('999\n');
  });

  it('reads 100 MB that a script prints at once', async () => {
    const run = await start('head -c 100000000 /dev/zero | tr "\\\\0" x; echo done > "$TMP_OUTPUT_DIR/done"');
    await succeeds(run);
    expect(await run.textOf('done')).toBe('done\n');
  });
});
