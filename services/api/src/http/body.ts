import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import './types.ts';

/** Past the limit so many bytes are still taken and thrown away, so that the client reads the answer and not a reset. */
const drainBytes = 67_108_864;
const drainMs = 5000;

export interface BodyLimits {
  /** Bytes of one body. */
  readonly limit: number;
  /** Bytes of all bodies in hand. */
  readonly memory: number;
  /** A whole body must be in after this. */
  readonly timeoutMs: number;
}

/**
 * Reads any body as bytes, whatever its content type says (OSCAR §0), within limits: for one, for all together, in time.
 * Fastify's own parsers are removed.
 */
export function installBodies(app: FastifyInstance, limits: BodyLimits): void {
  let inHand = 0;
  app.removeAllContentTypeParsers();
  app.decorateRequest('contentType', undefined);
  app.addHook('onRequest', (request, _reply, done) => {
    // A header that Fastify can't parse would be 415 before we see the request.
    request.contentType = request.headers['content-type'];
    if (request.contentType !== undefined) delete request.headers['content-type'];
    done();
  });
  const hold = (bytes: number, request: FastifyRequest): boolean => {
    if (inHand + bytes > limits.memory) return false;
    inHand += bytes;
    request.bodyBytes += bytes;
    return true;
  };
  app.decorateRequest('bodyBytes', 0);
  app.addHook('preParsing', (request, reply, _payload, done) => {
    const { headers } = request;
    if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
      releaseAtEnd(request, reply, (bytes) => {
        inHand -= bytes;
      });
    }
    done();
  });
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: IncomingMessage) =>
    readBody(payload, { ...limits, limit: request.routeOptions.config.bodyBytes ?? limits.limit }, (bytes) =>
      hold(bytes, request),
    ),
  );
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Bytes of this request's body that are counted as in hand. */
    bodyBytes: number;
  }
}

function releaseAtEnd(request: FastifyRequest, reply: FastifyReply, release: (bytes: number) => void): void {
  // `close` comes after `finish` and when the client has gone, too.
  reply.raw.once('close', () => {
    release(request.bodyBytes);
    request.bodyBytes = 0;
  });
}

/** In this scope bodies are not read: the handler gets the stream. */
export function installStreams(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => {
    done(null, payload);
  });
}

/** The bytes of a request; none where it has no body. */
export function bodyOf(request: FastifyRequest): Uint8Array {
  return request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
}

function readBody(payload: Readable, limits: BodyLimits, hold: (bytes: number) => boolean): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  const finish = (act: () => void): void => {
    clearTimeout(timer);
    payload.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
    act();
  };
  const refuse = (error: AppError): void => {
    finish(() => {
      chunks.length = 0;
      drain(payload, () => {
        reject(error);
      });
    });
  };
  const onData = (chunk: Buffer): void => {
    size += chunk.byteLength;
    if (size > limits.limit) refuse(tooLarge(limits.limit));
    else if (hold(chunk.byteLength)) chunks.push(chunk);
    else refuse(overloaded());
  };
  const onEnd = (): void => {
    finish(() => {
      resolve(Buffer.concat(chunks, size));
    });
  };
  const onError = (error: Error): void => {
    finish(() => {
      reject(new AppError('cancelled', 'The client ended the request early.', { cause: error }));
    });
  };
  const onClose = (): void => {
    onError(new Error('closed'));
  };
  const timer = setTimeout(() => {
    finish(() => {
      reject(new AppError('timed_out', `The body was not complete within ${limits.timeoutMs / 1000} s.`));
    });
  }, limits.timeoutMs);
  payload.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  return promise;
}

function tooLarge(limit: number): AppError {
  return new AppError(
    'too_large',
    `The request body is larger than the limit of ${limit} bytes. Put large files into a bucket: the object routes and presigned URLs take them.`,
    { field: 'body' },
  );
}

function overloaded(): AppError {
  return new AppError('unavailable', 'Too many request bodies at the same time.', { retryAfterSeconds: 1 });
}

function drain(payload: Readable, then: () => void): void {
  let left = drainBytes;
  const stop = (): void => {
    clearTimeout(timer);
    payload.off('data', onData).off('end', stop).off('close', stop).off('error', stop);
    payload.pause();
    then();
  };
  const onData = (chunk: Buffer): void => {
    left -= chunk.byteLength;
    if (left <= 0) stop();
  };
  const timer = setTimeout(stop, drainMs);
  payload.on('data', onData).on('end', stop).on('close', stop).on('error', stop);
  payload.resume();
}
