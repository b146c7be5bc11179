import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createLineFormat,
  createLineSplitter,
  createLogTail,
  maxLineBytes,
  outputBytes,
  stripLogTimes,
  type LogLine,
} from './folder-log-lines.ts';

function split(chunks: readonly Uint8Array[]): LogLine[] {
  const splitter = createLineSplitter();
  const lines = chunks.flatMap((chunk, at) => splitter.push(chunk, at));
  lines.push(...splitter.end());
  expect(splitter.end()).toEqual([]);
  return lines;
}

function output(lines: readonly LogLine[]): Buffer {
  return Buffer.from(lines.map((line) => line.text + (line.ended ? '\n' : '')).join(''), 'latin1');
}

const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.constantFrom('\n', 'a\n', '\n\n', 'ä', '\r\n').map((text) => Buffer.from(text)),
);

describe('createLineSplitter', () => {
  it('gives back every byte, however the output was cut', () => {
    fc.assert(
      fc.property(fc.array(anyBytes, { maxLength: 30 }), (chunks) => {
        const lines = split(chunks);
        expect(output(lines)).toEqual(Buffer.concat(chunks));
        expect(lines.reduce((sum, line) => sum + outputBytes(line), 0)).toBe(Buffer.concat(chunks).length);
        for (const line of lines) expect(line.text).not.toContain('\n');
        for (const line of lines.slice(0, -1)) expect(line.ended).toBe(true);
      }),
    );
  });

  it('gives a line the time of its first byte', () => {
    expect(split([Buffer.from('a\nb'), Buffer.from('c'), Buffer.from('\nd\n'), Buffer.from('e')])).toEqual([
      { at: 0, text: 'a', ended: true },
      { at: 0, text: 'bc', ended: true },
      { at: 2, text: 'd', ended: true },
      { at: 3, text: 'e', ended: false },
    ]);
  });

  it('cuts long lines between characters', () => {
    const text = `x${'ä€😀'.repeat(30_000)}\n`;
    for (const size of [1000, 65_536, 300_000]) {
      const bytes = Buffer.from(text);
      const chunks: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
      const lines = split(chunks);
      expect(output(lines).equals(bytes)).toBe(true);
      for (const line of lines) {
        expect(line.text.length).toBeLessThanOrEqual(maxLineBytes);
        expect(Buffer.from(line.text, 'latin1').toString()).not.toContain('\ufffd');
      }
    }
  });

  it('cuts bytes that are no text as well', () => {
    const lines = split([Buffer.alloc(200_000, 0x80)]);
    expect(lines.map((line) => line.text.length)).toEqual([65_536, 65_536, 65_536, 3392]);
  });
});

describe('createLogTail', () => {
  it('keeps whole last lines, and says how many bytes they are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyBytes, fc.nat(3)), { maxLength: 60 }),
        fc.integer({ min: 1, max: 200 }),
        (pushes, limit) => {
          const tail = createLogTail(limit);
          let at = 0;
          for (const [chunk, later] of pushes) {
            at += later;
            tail.push(chunk, at);
          }
          const whole = Buffer.concat(pushes.map(([chunk]) => chunk));
          const { lines, bytes } = tail.take();
          expect(bytes).toBeLessThanOrEqual(whole.length);
          const kept = Buffer.from(stripLogTimes(Buffer.from(lines.join(''), 'latin1')));
          const expected = whole.subarray(whole.length - bytes);
          const ended =
            expected.length === 0 || expected.at(-1) === 0x0a
              ? expected
              : Buffer.concat([expected, Buffer.from('\n')]);
          expect(kept.equals(ended)).toBe(true);
          if (lines.length > 1) expect(lines.join('').length).toBeLessThanOrEqual(limit);
        },
      ),
    );
  });

  it('stays small, whatever comes in', () => {
    const tail = createLogTail(65_536);
    for (let at = 0; at < 200_000; at += 1) tail.push(Buffer.from('y\n'), at);
    const { lines, bytes } = tail.take();
    expect(lines.join('').length).toBeLessThanOrEqual(65_536);
    expect(bytes).toBe(lines.length * 2);
    expect(lines.at(-1)).toBe('1970-01-01T00:03:19.999Z y\n');
  });
});

describe('stripLogTimes', () => {
  it('takes off one time for each line and nothing else', () => {
    const line = createLineFormat();
    const text = '2026-01-02T03:04:05.678Z said the script';
    const stored =
      line({ at: 5, text, ended: true }) +
      line({ at: 6, text: '', ended: true }) +
      line({ at: 6, text: '\xff\x00', ended: true });
    expect(Buffer.from(stripLogTimes(Buffer.from(stored, 'latin1'))).toString('latin1')).toBe(
      `${text}\n\n\xff\x00\n`,
    );
    expect(Buffer.from(stripLogTimes(Buffer.from('cut off\nno time'))).toString()).toBe('cut off\nno time');
  });
});
