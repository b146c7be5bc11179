import type { IncomingMessage } from 'node:http';
import { AppError } from '@sluice/shared/errors';

/**
 * The whole body of a request.
 * @throws AppError `too_large` as soon as that is known, `cancelled` when the client goes away or `signal` is aborted
 */
export async function readBody(
  request: IncomingMessage,
  limit: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const tooLarge = (): AppError =>
    new AppError('too_large', `the body is larger than ${limit} bytes: upload it as a file`);
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge();
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const chunks: Buffer[] = [];
  let size = 0;
  const gone = (): void => reject(new AppError('cancelled', 'the client went away'));
  const stop = (): void => reject(new AppError('cancelled', 'the runner is stopping'));
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
    else reject(tooLarge());
  });
  request.on('end', () => {
    // It closes right after: an error for nobody would cost more than all the rest here.
    request.off('close', gone);
    resolve(chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks));
  });
  request.on('error', gone);
  request.on('close', gone);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', stop);
    request.removeAllListeners('data');
  }
}
