import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../support/server.ts';
import { runsOf } from '../support/service.ts';
import { waitFor } from '../support/wait.ts';
import type { World } from '../support/world.ts';

const sample = (path: string): string => join(root, 'examples', path);

/** The examples as they are shipped: applied by the client, each with the file that comes with it. */
export function describeExamples(world: () => World): void {
  const apply = async (name: string): Promise<void> => {
    const done = await world().sluice('apply', sample(`${name}/${name}.yaml`));
    expect(done.code, done.stdout + done.stderr).toBe(0);
  };
  const drop = async (bucket: string, key: string, path: string): Promise<void> =>
    world().drop(bucket, key, await readFile(sample(path)));
  const result = (bucket: string, key: string): Promise<Buffer> =>
    waitFor(
      `the object ${bucket}/${key}`,
      async () => {
        const answer = await world().request(`/system/buckets/${bucket}/objects/${key}`);
        return answer.ok ? Buffer.from(await answer.arrayBuffer()) : undefined;
      },
      120_000,
    );
  const succeeded = (service: string, count: number): Promise<unknown> =>
    waitFor(
      `${count} runs of ${service}`,
      async () => (await runsOf(world(), service, 'succeeded')).length === count || undefined,
    );

  test('word-count: a text becomes a table of its words and a summary', async () => {
    await apply('word-count');
    await drop('word-count', 'in/harbour.txt', 'word-count/samples/harbour.txt');
    for (const file of ['harbour.tsv', 'harbour-summary.txt']) {
      const expected = await readFile(sample(`word-count/expected/${file}`));
      expect(await result('word-count', `out/${file}`)).toEqual(expected);
    }
    await succeeded('word-count', 1);
    expect(await runsOf(world(), 'word-count')).toHaveLength(1);
  });

  test('pipeline: a table is split, and each part becomes a report', async () => {
    await apply('pipeline');
    await drop('pipeline', 'in/readings.csv', 'pipeline/samples/readings.csv');
    for (const station of ['harbour', 'hilltop', 'north-quay', 'valley']) {
      const report = `readings-${station}-report.json`;
      const expected = await readFile(sample(`pipeline/expected/${report}`));
      expect(await result('pipeline', `reports/${report}`)).toEqual(expected);
    }
    await succeeded('pipeline-split', 1);
    await succeeded('pipeline-report', 4);
    expect(await runsOf(world(), 'pipeline-report')).toHaveLength(4);
  });

  test('thumbnail: a picture becomes a small one and a grey one', async () => {
    await apply('thumbnail');
    await drop('thumbnail', 'in/sunset.jpg', 'thumbnail/samples/sunset.jpg');
    for (const file of ['sunset-small.jpg', 'sunset-grey.jpg']) {
      const picture = await result('thumbnail', `out/${file}`);
      expect(picture.subarray(0, 3).toString('hex')).toBe('ffd8ff');
    }
  });
}
