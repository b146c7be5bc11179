import type { IncomingMessage } from 'node:http';
import { systemCode } from '../errors/index.ts';
import { fromS3Error } from './s3-errors.ts';

/** A request that may be sent again. */
export type Call = <T>(what: string, request: () => Promise<T>) => Promise<T>;

/** What a server does with a kept connection that it has just closed: the request on it never arrived. */
const staleCodes: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

/**
 * Sends a request that changes nothing, or the same thing each time; once more where its connection broke under it. All else is the caller's to repeat.
 * @param what for messages: `read the object in/a.txt`
 * @throws AppError
 */
export const call: Call = async (what, request) => {
  try {
    return await request();
  } catch (error) {
    if (!staleCodes.has(systemCode(error) ?? '')) throw fromS3Error(error, what);
  }
  try {
    return await request();
  } catch (error) {
    throw fromS3Error(error, what);
  }
};

/** Reads an answer that has no body worth reading, so that its connection can be used again. */
export async function drain(answer: IncomingMessage): Promise<void> {
  answer.resume();
  if (answer.readableEnded) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  answer
    .once('end', resolve)
    .once('close', resolve)
    .once('error', () => resolve());
  await promise;
}
