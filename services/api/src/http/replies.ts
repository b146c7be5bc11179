import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Static, TSchema } from 'typebox';
import { encodeGoJson } from '../domain/go-json-encode.ts';

const jsonType = 'application/json; charset=utf-8';

/** JSON as OSCAR writes it (OSCAR §0). */
export function sendGoJson<S extends TSchema>(
  reply: FastifyReply,
  schema: S,
  value: Static<S>,
): FastifyReply {
  return sendJsonText(reply, encodeGoJson(schema, value));
}

export function sendJsonText(reply: FastifyReply, json: string): FastifyReply {
  return reply.header('content-type', jsonType).send(json);
}

export function sendText(reply: FastifyReply, text: string | Uint8Array): FastifyReply {
  return reply.header('content-type', 'text/plain; charset=utf-8').send(text);
}

/** A status and nothing else. */
export function sendStatus(reply: FastifyReply, status: number): FastifyReply {
  return reply.code(status).send();
}

/** Up to this size an answer is sent in one piece with its length. */
const wholeBytes = 262_144;

/**
 * Sends pieces as they come. What goes wrong before the first 256 KiB is an error answer; later the connection breaks, which
 * a client can tell from an end.
 */
export async function sendPieces(
  reply: FastifyReply,
  type: 'json' | 'text',
  pieces: AsyncGenerator<string | Uint8Array>,
): Promise<FastifyReply> {
  const first: Buffer[] = [];
  let size = 0;
  let ended = false;
  while (!ended && size < wholeBytes) {
    const next = await pieces.next();
    if (next.done === true) {
      ended = true;
      break;
    }
    const bytes = Buffer.from(next.value);
    first.push(bytes);
    size += bytes.byteLength;
  }
  void reply.header('content-type', type === 'json' ? jsonType : 'text/plain; charset=utf-8');
  return reply.send(
    ended ? Buffer.concat(first) : Readable.from(chain(first, pieces), { objectMode: false }),
  );
}

async function* chain(
  first: readonly Buffer[],
  rest: AsyncGenerator<string | Uint8Array>,
): AsyncGenerator<string | Uint8Array> {
  yield* first;
  yield* rest;
}

/** A header that may come once. */
export function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}
