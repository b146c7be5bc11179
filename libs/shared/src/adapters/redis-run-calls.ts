import { AppError } from '../errors/index.ts';
import type { RedisConnection, RedisScript } from './redis-connection.ts';

/** Runs scripts of the ledger. @throws AppError `unavailable` while the memory is not intact */
export type LedgerCall = (script: RedisScript, args: readonly (string | number)[]) => Promise<unknown>;

export function ledgerCall(redis: RedisConnection): LedgerCall {
  return async (script, args) => {
    const reply = await redis.run(script, args);
    if (reply === 'lost') throw lostError();
    return reply;
  };
}

export function lostError(): AppError {
  return new AppError('unavailable', 'The run ledger is being rebuilt: Redis lost its memory.', {
    retryAfterSeconds: 5,
  });
}

/** The parts of an array reply. */
export function parts(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw new Error(`Redis answered a ${typeof reply} in place of an array`);
  return reply;
}

export function texts(reply: unknown): readonly string[] {
  return parts(reply).map(String);
}

export function numbers(reply: unknown): readonly number[] {
  return parts(reply).map(Number);
}

/** Cuts a list into tuples of `size`. */
export function tuples(list: readonly string[], size: number): readonly (readonly string[])[] {
  const result: (readonly string[])[] = [];
  for (let at = 0; at + size <= list.length; at += size) result.push(list.slice(at, at + size));
  return result;
}
