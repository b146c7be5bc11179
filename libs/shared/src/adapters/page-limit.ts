import { AppError } from '../errors/index.ts';

/** @throws AppError `invalid_input` with field `limit` unless it is a whole number from 1 to 1000 */
export function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1000) return;
  throw new AppError('invalid_input', 'The limit must be a whole number from 1 to 1000.', { field: 'limit' });
}
