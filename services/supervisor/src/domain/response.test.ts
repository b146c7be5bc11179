import { describe, expect, test } from 'vitest';
import { createOutputCollector, responseBody } from './response.ts';

const file = (name: string, data: string) => ({ name, data: Buffer.from(data) });
const answer = (more: Partial<Parameters<typeof responseBody>[0]>): string =>
  Buffer.from(
    responseBody({
      unknownEvent: true,
      files: [],
      output: Buffer.from('printed'),
      at: Date.UTC(2026, 0, 2, 3, 4, 6),
      ...more,
    }),
  ).toString();

/** The entries that an archive's directory names, read by the format's own rules. */
function unzip(archive: Buffer): Record<string, string> {
  const end = archive.length - 22;
  expect(archive.readUInt32LE(end)).toBe(0x06054b50);
  let at = archive.readUInt32LE(end + 16);
  const entries: Record<string, string> = {};
  for (let index = 0; index < archive.readUInt16LE(end + 10); index += 1) {
    expect(archive.readUInt32LE(at)).toBe(0x02014b50);
    expect(archive.readUInt16LE(at + 10)).toBe(0);
    const size = archive.readUInt32LE(at + 20);
    const nameLength = archive.readUInt16LE(at + 28);
    const local = archive.readUInt32LE(at + 42);
    const name = archive.subarray(at + 46, at + 46 + nameLength).toString();
    expect(archive.readUInt32LE(local)).toBe(0x04034b50);
    expect(archive.subarray(local + 30, local + 30 + nameLength).toString()).toBe(name);
    const data = local + 30 + nameLength + archive.readUInt16LE(local + 28);
    entries[name] = archive.subarray(data, data + size).toString();
    at += 46 + nameLength;
  }
  expect(at).toBe(end);
  return entries;
}

describe('what a call is answered with', () => {
  test('no file: what the script printed', () => {
    expect(answer({})).toBe('printed\n');
  });

  test('one file: its bytes in base64', () => {
    expect(answer({ files: [file('a', 'hello')] })).toBe('aGVsbG8=\n');
  });

  test('several files: an archive in base64', () => {
    const body = answer({ files: [file('a', 'hello'), file('deep/ü', 'x'), file('empty', '')] });
    expect(unzip(Buffer.from(body, 'base64'))).toEqual({ a: 'hello', 'deep/ü': 'x', empty: '' });
  });

  test('any recognised event: what the script printed', () => {
    expect(answer({ unknownEvent: false, files: [file('a', 'hello')] })).toBe('printed\n');
  });
});

test('the collector keeps the first bytes and counts the rest', () => {
  const collector = createOutputCollector(5);
  for (const chunk of ['abc', 'def', 'ghi']) collector.add(Buffer.from(chunk));
  expect(Buffer.from(collector.bytes()).toString()).toBe('abcde');
  expect(collector.dropped()).toBe(4);
});
