import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { readContainerOutput } from './container-output.ts';

function frame(text: string, stream = 1): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

async function read(chunks: Buffer[]): Promise<{ text: string; ended: boolean }> {
  let text = '';
  const output = readContainerOutput(Readable.from(chunks), (chunk) => {
    text += Buffer.from(chunk).toString('latin1');
    return Promise.resolve();
  });
  return { ended: await output.ended, text };
}

const whole = Buffer.concat([frame('one '), frame('', 2), frame('two ', 2), frame('three')]);

test('frames become text, however the stream is cut', async () => {
  for (let size = 1; size <= whole.length; size += 1) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < whole.length; at += size) chunks.push(whole.subarray(at, at + size));
    expect(await read(chunks)).toEqual({ text: 'one two three', ended: true });
  }
});

test('a stream that ends in a frame was cut', async () => {
  expect(await read([whole.subarray(0, -2)])).toEqual({ text: 'one two thr', ended: false });
  expect(await read([whole.subarray(0, 4)])).toEqual({ text: '', ended: false });
});

test('nothing is read while a chunk is being dealt with', async () => {
  const gate = Promise.withResolvers<void>();
  const seen: string[] = [];
  const output = readContainerOutput(Readable.from([frame('a'), frame('b')]), async (chunk) => {
    seen.push(Buffer.from(chunk).toString());
    await gate.promise;
  });
  const first = await Promise.race([
    output.ended,
    new Promise((resolve) => setImmediate(() => resolve('waits'))),
  ]);
  expect([first, seen]).toEqual(['waits', ['a']]);
  gate.resolve();
  expect(await output.ended).toBe(true);
  expect(seen).toEqual(['a', 'b']);
});
