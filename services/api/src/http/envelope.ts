import { AppError } from '@sluice/shared/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static, type TObject, type TProperties } from 'typebox';
import { encodePythonJson } from '../domain/python-json.ts';
import { bodyOf } from './body.ts';

/** An error of OpenServerless' routes. */
export const Ko = Type.Object(
  { message: Type.String(), status: Type.Literal('ko') },
  { title: 'OpenServerlessError' },
);

export const Done = Type.Object({ message: Type.String(), status: Type.Literal('ok') });

/** A success of OpenServerless' routes: what it says stands beside the message, and once more below `data`. */
export function envelopeOf<P extends TProperties>(data: TObject<P>) {
  return Type.Object({ ...Done.properties, ...data.properties, data });
}

/** `message` of the data counts: it is merged last. */
export function sendDone(
  reply: FastifyReply,
  status: number,
  message: string,
  data?: Readonly<Record<string, unknown>>,
): FastifyReply {
  return sendEnvelope(reply, status, {
    message,
    status: 'ok',
    ...(data === undefined ? {} : { ...data, data }),
  });
}

export function sendKo(reply: FastifyReply, status: number, message: string): FastifyReply {
  return sendEnvelope(reply, status, { message, status: 'ko' } satisfies Static<typeof Ko>);
}

function sendEnvelope(reply: FastifyReply, status: number, body: object): FastifyReply {
  // As bytes: Fastify would add a charset, which Flask does not send.
  return reply
    .code(status)
    .header('content-type', 'application/json')
    .send(Buffer.from(encodePythonJson(body)));
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The body as Flask's `request.json`, which looks at the content type first.
 * @throws a refusal with status 415, and AppError `invalid_input` for what is no JSON
 */
export function jsonOf(request: FastifyRequest): unknown {
  const type = request.contentType?.split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type !== 'application/json' && !/^application\/[^/]*\+json$/.test(type)) {
    const message =
      "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.";
    throw Object.assign(new Error(message), { statusCode: 415 });
  }
  try {
    return JSON.parse(utf8.decode(bodyOf(request))) as unknown;
  } catch (error) {
    throw new AppError('invalid_input', 'The body is not valid JSON in UTF-8.', {
      field: 'body',
      cause: error,
    });
  }
}
