import { AppError } from '../errors/index.ts';

/** Packs a place in a list into an opaque cursor (base64url). `kind` keeps the cursor of one list out of another. */
export function encodeCursor(kind: string, place: string): string {
  return Buffer.from(`${kind}:${place}`, 'utf8').toString('base64url');
}

/**
 * The place behind a cursor.
 * @throws AppError `invalid_input` with field `cursor` for anything that `encodeCursor` of this kind did not make
 */
export function decodeCursor(kind: string, cursor: string): string {
  const text = Buffer.from(cursor, 'base64url').toString('utf8');
  if (!text.startsWith(`${kind}:`) || encodeCursor(kind, text.slice(kind.length + 1)) !== cursor) {
    throw invalidCursor();
  }
  return text.slice(kind.length + 1);
}

/** As `decodeCursor`, for a place that is a sequence number. */
export function decodeNumberCursor(kind: string, cursor: string): number {
  const place = decodeCursor(kind, cursor);
  if (!/^\d{1,15}$/.test(place)) throw invalidCursor();
  return Number(place);
}

function invalidCursor(): AppError {
  return new AppError('invalid_input', 'The cursor is not one that this list gave.', { field: 'cursor' });
}
