/** Writes objects as fast as it can until it is killed; prints the key of each that is durable. Argument: the data folder. */
import { Readable } from 'node:stream';
import { openFolderFixture } from './folder-fixture.ts';

const [root = '', round = ''] = process.argv.slice(2);
const { store } = await openFolderFixture({ root });
await store.createBucket('photos', {});

/** An object tells of itself what it must be: its key names size and letter. */
async function putOne(lane: number, at: number): Promise<void> {
  const size = 1 + ((lane * 7919 + at * 104_729) % 400_000);
  const letter = String.fromCharCode(97 + (at % 26));
  const key = `in/${lane % 3}/${round}-${lane}-${at}-${size}-${letter}`;
  const whole = Buffer.alloc(size, letter);
  const body =
    lane % 2 === 0 ? whole : Readable.from([whole.subarray(0, size >> 1), whole.subarray(size >> 1)]);
  const { etag } = await store.put('photos', key, body, { metadata: { letter }, ifNoneMatch: '*' });
  process.stdout.write(`${key} ${etag}\n`);
}

await Promise.all(
  Array.from({ length: 8 }, async (_, lane) => {
    for (let at = 0; ; at += 1) await putOne(lane, at);
  }),
);
