import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../errors/index.ts';
import { checkLimit } from './page-limit.ts';
import { decodeCursor, decodeNumberCursor, encodeCursor } from './sqlite-cursor.ts';

describe('a cursor', () => {
  it('gives back its place', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (place) => {
        const cursor = encodeCursor('kind', place);
        expect(cursor).toMatch(/^[A-Za-z0-9_-]*$/);
        expect(decodeCursor('kind', cursor)).toBe(place);
      }),
    );
  });

  it('is refused by another list, and so is anything else', () => {
    const refused = expect.objectContaining({ code: 'invalid_input', field: 'cursor' }) as Error;
    expect(() => decodeCursor('runs', encodeCursor('dead', '1'))).toThrow(refused);
    expect(() => decodeNumberCursor('runs', encodeCursor('runs', '1e3'))).toThrow(refused);
    expect(() => decodeNumberCursor('runs', encodeCursor('runs', ''))).toThrow(refused);
    fc.assert(
      fc.property(fc.string(), (text) => {
        // Random text is practically never a cursor; it must fail as one, not as a bug.
        expect(() => decodeNumberCursor('runs', text)).toThrow(AppError);
      }),
    );
  });

  it.each([0, -1, 1001, 1.5, Number.NaN, Infinity])('comes with a limit other than %d', (limit) => {
    expect(() => checkLimit(limit)).toThrow(AppError);
    expect(() => checkLimit(1)).not.toThrow();
    expect(() => checkLimit(1000)).not.toThrow();
  });
});
