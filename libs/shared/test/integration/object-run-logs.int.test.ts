import { describe, expect, it, onTestFinished } from 'vitest';
import { createObjectRunLogs } from '../../src/adapters/object-run-logs.ts';
import { AppError } from '../../src/errors/index.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { SYSTEM_BUCKET, type ObjectStore } from '../../src/stores/index.ts';
import { describeRunLogs } from '../../src/testing/run-logs.suite.ts';
import { eventually } from '../../src/testing/eventually.ts';
import { openFolderFixture } from './folder-fixture.ts';

describeRunLogs('objects in folders', async () => {
  const { store: objects, close } = await openFolderFixture();
  await objects.createBucket(SYSTEM_BUCKET, {});
  return {
    logs: createObjectRunLogs({ objects, clock: systemClock, maxBytes: 4096 }),
    maxBytes: 4096,
    close,
  };
});

const ref = { service: 'thumbnail', runId: 'thumbnail-0001' };

async function openStore(): Promise<ObjectStore> {
  const { store, close } = await openFolderFixture();
  onTestFinished(close);
  await store.createBucket(SYSTEM_BUCKET, {});
  return store;
}

async function segmentsIn(objects: ObjectStore): Promise<string[]> {
  const { objects: found } = await objects.list(SYSTEM_BUCKET, { prefix: 'logs/', limit: 1000 });
  return found.map(({ key }) => key);
}

describe('logs as segments', () => {
  it('are read by another process while they are written, the first line without a wait', async () => {
    const objects = await openStore();
    // No second would be long enough for a second line to be written by itself.
    const writer = await createObjectRunLogs({ objects, clock: systemClock, flushMs: 3_600_000 }).open(ref);
    await writer.write(Buffer.from('first\n'));
    const reader = createObjectRunLogs({ objects, clock: systemClock });
    const early = await eventually('the first line', async () =>
      reader.read(ref, { offset: 0, limit: 1000 }),
    );
    expect(Buffer.from(early.data).toString()).toMatch(/Z first\n$/);
    expect(early.complete).toBe(false);
    await writer.write(Buffer.from('second\n'));
    expect(await segmentsIn(objects)).toHaveLength(1);
    await writer.close();
    const whole = await reader.read(ref, { offset: 0, limit: 1000 });
    expect(Buffer.from(whole?.data ?? []).toString()).toMatch(/Z first\n.*Z second\n$/);
    expect(whole?.complete).toBe(true);
  });

  it('go on behind what a killed writer left, which is complete only by the end of the next', async () => {
    const objects = await openStore();
    const killed = await createObjectRunLogs({ objects, clock: systemClock }).open(ref);
    await killed.write(Buffer.from('one\n'));
    await eventually('a segment', async () => (await segmentsIn(objects)).length === 1);
    const reader = createObjectRunLogs({ objects, clock: systemClock });
    expect(await reader.read(ref, { offset: 0, limit: 1000 })).toMatchObject({ complete: false });
    const late = createObjectRunLogs({ objects, clock: { ...systemClock, now: () => Date.now() + 60_000 } });
    expect(await late.read(ref, { offset: 0, limit: 1000 })).toMatchObject({ complete: true });
    const next = await createObjectRunLogs({ objects, clock: systemClock }).open(ref);
    await next.write(Buffer.from('two\n'));
    await next.close();
    const chunk = await reader.read(ref, { offset: 0, limit: 1000 });
    expect(Buffer.from(chunk?.data ?? []).toString()).toMatch(/^\S+Z one\n\S+Z two\n$/);
    expect(chunk?.complete).toBe(true);
  });

  it('of two writers at once lose nothing', async () => {
    const objects = await openStore();
    const writers = await Promise.all(
      [1, 2].map(async () => createObjectRunLogs({ objects, clock: systemClock, flushMs: 1 }).open(ref)),
    );
    for (let line = 0; line < 20; line += 1) {
      await Promise.all(writers.map(async (writer, at) => writer.write(Buffer.from(`${at}: ${line}\n`))));
    }
    await Promise.all(writers.map(async (writer) => writer.close()));
    const chunk = await createObjectRunLogs({ objects, clock: systemClock }).read(ref, {
      offset: 0,
      limit: 9999,
    });
    expect(
      Buffer.from(chunk?.data ?? [])
        .toString()
        .split('\n'),
    ).toHaveLength(41);
  });

  it('outlive a store that is away for a moment, and say what is missing after a longer one', async () => {
    const objects = await openStore();
    let away = 2;
    const flaky: ObjectStore = {
      ...objects,
      put: async (...args) => {
        away -= 1;
        if (away >= 0) throw new AppError('unavailable', 'away');
        return objects.put(...args);
      },
    };
    const clock = { ...systemClock, sleep: async () => Promise.resolve() };
    const logs = createObjectRunLogs({ objects: flaky, clock });
    const writer = await logs.open(ref);
    await writer.write(Buffer.from('kept\n'));
    await writer.close();
    const chunk = await logs.read(ref, { offset: 0, limit: 1000 });
    expect(Buffer.from(chunk?.data ?? []).toString()).toMatch(/Z kept\n$/);
    away = 1_000_000;
    const second = await logs.open(ref);
    await second.write(Buffer.from('lost\n'));
    expect(await second.close()).toEqual({ bytes: 5, dropped: 5 });
  });
});
