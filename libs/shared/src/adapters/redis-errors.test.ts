import { describe, expect, it } from 'vitest';
import { AppError } from '../errors/index.ts';
import { fromRedisError, isNoScript } from './redis-errors.ts';

const address = 'redis:6379';

/** As the client makes them: with the command, whose arguments nobody may see. */
function replyError(message: string): Error {
  return Object.assign(new Error(message), {
    name: 'ReplyError',
    command: { name: 'auth', args: ['hidden-password'] },
  });
}

describe('an error of Redis', () => {
  it.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", 'storage_full', 'out of memory'],
    [
      "OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:12.",
      'storage_full',
      'out of memory',
    ],
    // Redis 6.
    [
      'ERR Error running script (call to f_1f): @user_script:9: -OOM command not allowed when used memory',
      'storage_full',
      'out of memory',
    ],
    ['MISCONF Errors writing to the AOF file: No space left on device', 'storage_full', 'its disk'],
    ['WRONGPASS invalid username-password pair or user is disabled.', 'unavailable', 'password'],
    ['ERR invalid password', 'unavailable', 'password'],
    ['NOAUTH Authentication required.', 'unavailable', 'wants a password'],
    ["NOPERM this user has no permissions to run the 'evalsha' command", 'unavailable', 'its user'],
    ["READONLY You can't write against a read only replica.", 'unavailable', 'replica'],
    ['LOADING Redis is loading the dataset in memory', 'unavailable', 'loading'],
    ['BUSY Redis is busy running a script.', 'unavailable', 'busy'],
    ['MOVED 3999 127.0.0.1:6381', 'unavailable', 'cluster'],
  ])('%s says what to mend', (message, code, words) => {
    const error = fromRedisError(replyError(message), address, undefined);
    expect(error).toMatchObject({ code, retry: 'later', message: expect.stringContaining(words) });
    expect(error).toMatchObject({ message: expect.stringContaining(address) });
    expect(
      JSON.stringify((error as AppError).cause, Object.getOwnPropertyNames((error as AppError).cause)),
    ).not.toContain('hidden');
  });

  it('about a command that is wrong is our bug, and shows no arguments', () => {
    const error = fromRedisError(
      replyError('ERR user_script:3: attempt to index a nil value'),
      address,
      undefined,
    );
    expect(error).not.toBeInstanceOf(AppError);
    expect(error).toMatchObject({ message: expect.stringContaining('nil value') });
    expect(error).not.toHaveProperty('command');
  });

  it('for want of a connection tells what cut it', () => {
    const offline = new Error("Stream isn't writeable and enableOfflineQueue options is false");
    expect(fromRedisError(offline, address, new Error('connect ECONNREFUSED'))).toMatchObject({
      code: 'unavailable',
      message: 'Redis at redis:6379 cannot be reached: connect ECONNREFUSED.',
    });
    expect(fromRedisError(offline, address, new Error('NOAUTH Authentication required.'))).toMatchObject({
      message: expect.stringContaining('wants a password'),
    });
    expect(fromRedisError(offline, address, undefined)).toMatchObject({
      message: 'Redis at redis:6379 cannot be reached: no connection.',
    });
  });

  it('that is one of ours already passes through', () => {
    const own = new AppError('limit_reached', 'Full.');
    expect(fromRedisError(own, address, undefined)).toBe(own);
    expect(isNoScript(new Error('NOSCRIPT No matching script.'))).toBe(true);
    expect(isNoScript(own)).toBe(false);
  });
});
