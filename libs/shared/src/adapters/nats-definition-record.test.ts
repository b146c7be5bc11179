import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Floor, NewDefinition } from '../stores/index.ts';
import { definitionOf } from '../testing/definition-of.ts';
import { type FirstFloor, floorsOf, packText, unpackText } from './nats-definition-record.ts';

const mebibyte = 1024 * 1024;

describe('packed texts', () => {
  it('come back as they were, short or long', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 50 }), fc.nat(1000), async (word, times) => {
        const text = JSON.stringify(word.repeat(times));
        expect(unpackText(await packText(text, 'It', mebibyte))).toBe(text);
      }),
      { numRuns: 50 },
    );
  });

  it('are small where they repeat themselves', async () => {
    const text = 'echo hello\n'.repeat(500_000);
    expect((await packText(text, 'It', mebibyte)).length).toBeLessThan(50_000);
  });

  it('have room for headers beside them', async () => {
    const noise = randomBytes(mebibyte).toString('base64');
    await expect(packText(noise, 'The definition', mebibyte)).rejects.toMatchObject({ code: 'too_large' });
    const packed = await packText(noise, 'The definition', 2 * mebibyte);
    await expect(packText(noise, 'It', packed.length)).rejects.toThrow(`takes ${packed.length - 4096}`);
  });

  it('that were made to burst are refused', async () => {
    const bomb = await packText('x'.repeat(65 * mebibyte), 'It', mebibyte);
    expect(() => unpackText(bomb)).toThrow(/larger than/);
  });
});

describe('floors of a version', () => {
  const floor = (bucket: string, at: number): Floor => ({ bucket, prefix: 'in/', at });
  const input = (paths: readonly string[], floors: readonly Floor[]): NewDefinition => ({
    definition: definitionOf('s', {
      input: paths.map((path) => ({ storage_provider: 'minio.default', path })),
    }),
    secrets: { token: '', environment: {} },
    floors,
  });
  const before: readonly FirstFloor[] = [
    { ...floor('a', 1), since: 1 },
    { ...floor('b', 2), since: 3 },
  ];

  it('stay with their prefix, whatever is said anew', () => {
    expect(floorsOf(before, input(['/a/in/', 'b/in'], [floor('a', 99)]), 4)).toEqual(before);
  });

  it('go with their prefix', () => {
    expect(floorsOf(before, input(['b/in'], []), 4)).toEqual([before[1]]);
  });

  it('begin with the version that brings the prefix', () => {
    expect(floorsOf([], input(['c/in'], [floor('c', 5)]), 4)).toEqual([{ ...floor('c', 5), since: 4 }]);
  });
});
