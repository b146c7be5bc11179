import { AppError, type AppErrorOptions, type ErrorCode, isAppError, messageOf } from '../errors/index.ts';

interface Meaning {
  readonly code: ErrorCode;
  readonly sentence: string;
}

/** Error words of Redis (the first of a reply, or inside that of a script) that say something about the server, not about one command. */
const meanings: Readonly<Record<string, Meaning>> = {
  OOM: {
    code: 'storage_full',
    sentence:
      'is out of memory (its maxmemory is reached). Give it more, or keep runs for a shorter time; the work is tried again',
  },
  MISCONF: { code: 'storage_full', sentence: 'refuses writes because it cannot write to its disk' },
  WRONGPASS: { code: 'unavailable', sentence: 'refuses the user or the password of its address (REDIS_URL)' },
  NOAUTH: { code: 'unavailable', sentence: 'wants a password, and its address (REDIS_URL) has none' },
  NOPERM: { code: 'unavailable', sentence: 'does not let its user (REDIS_URL) do what is needed' },
  READONLY: { code: 'unavailable', sentence: 'is a read-only replica; REDIS_URL has to lead to the primary' },
  LOADING: { code: 'unavailable', sentence: 'is still loading its data' },
  BUSY: { code: 'unavailable', sentence: 'is busy with a script' },
  MASTERDOWN: { code: 'unavailable', sentence: 'is a replica that lost its primary' },
  NOREPLICAS: { code: 'unavailable', sentence: 'refuses writes for want of replicas' },
  CLUSTERDOWN: { code: 'unavailable', sentence: 'is a cluster that is down' },
  TRYAGAIN: { code: 'unavailable', sentence: 'is a cluster that moves its keys' },
  MOVED: {
    code: 'unavailable',
    sentence:
      'is a node of a cluster that does not have these keys; REDIS_URL has to lead to the one that has',
  },
};

// Since Redis 7 the word comes first in the error of a script too; before that it came after "@user_script:1: -".
const words = /(?:^|: -?)([A-Z]{3,})(?= |$)/g;

/** Before Redis 6 a wrong password had no word of its own. */
const oldWrongPassword = /invalid password|invalid username-password/i;

/** The word of Redis' own error, where it is one that concerns the whole server. */
function meaningOf(message: string): Meaning | undefined {
  for (const [, word = ''] of message.matchAll(words))
    if (Object.hasOwn(meanings, word)) return meanings[word];
  return oldWrongPassword.test(message) ? meanings['WRONGPASS'] : undefined;
}

/** True where the server does not have the script of an `EVALSHA` (it was restarted, or took over). */
export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/** True for the answer of a server that turned into a replica: another address may lead to the primary. */
export function isReadOnly(error: Error): boolean {
  return error.message.startsWith('READONLY');
}

/**
 * An error of the Redis client as an `AppError` that says what to mend. Those of a script that is wrong remain plain errors.
 * The client's own error is never passed on: it carries the command with its arguments, the password of `AUTH` included.
 * @param cut what cut the connection, where it is down
 */
export function fromRedisError(error: unknown, address: string, cut: Error | undefined): unknown {
  if (isAppError(error)) return error;
  const bare = bareError(error);
  const options: AppErrorOptions = { cause: bare, details: { address }, retryAfterSeconds: 2 };
  const meaning = meaningOf(bare.message);
  if (meaning !== undefined)
    return new AppError(meaning.code, `Redis at ${address} ${meaning.sentence}.`, options);
  // Whatever else the server itself answered is about the command: our bug.
  if (error instanceof Error && error.name === 'ReplyError') return bare;
  if (cut !== undefined && cut !== error) return fromRedisError(cut, address, undefined);
  return new AppError('unavailable', `Redis at ${address} cannot be reached: ${bare.message}.`, options);
}

/** The message alone. */
export function bareError(error: unknown): Error {
  const message = messageOf(error);
  // Nobody should have to know an option of the client.
  return new Error(/enableOfflineQueue|Connection is closed/.test(message) ? 'no connection' : message);
}
