import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { serviceCookie, tokenCandidates } from '../../domain/service-cookie.ts';
import type { HttpContext } from '../context.ts';
import { headerOf, sendStatus } from '../replies.ts';
import { deploymentExamples } from '../examples/deployment.ts';
import { nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';

const Name = Type.Object({ name: Type.String() });

const cookie = {
  'Set-Cookie': Type.String({ description: 'keeps the token for the paths of the exposed service' }),
};
const docs = {
  summary: 'Says whether a request may pass to an exposed service.',
  description:
    'Asked by a proxy. The token of the service may be in `Authorization`, in the query as `token`, in the query of `X-Forwarded-Uri`, or in the cookie that an earlier answer set.',
  tag: 'services',
  params: Name,
  querystring: Type.Object({
    token: Type.Optional(
      Type.Union([Type.String(), Type.Array(Type.String())], { description: 'the token of the service' }),
    ),
  }),
  response: { 200: nothing('It may.', cookie) },
  errors: [404],
  example: deploymentExamples.auth,
} as const satisfies RouteDoc;

/** Asked by a proxy in front of exposed services whether a request may pass (OSCAR §3.5). */
export function serviceAuthRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'GET',
    url: '/system/services/:name/auth',
    access: 'proxy',
    wire: 'oscar',
    schema: docs,
    handler: (request, reply) => {
      const { name } = request.params as Static<typeof Name>;
      const exists = context.directory.get(name) !== undefined;
      const candidates = candidatesOf(request, name);
      if (candidates.length === 0) return asAdmin(request, reply, context, exists);
      if (!exists) return sendStatus(reply, 404);
      const token = candidates.find((candidate) => {
        const principal = context.authenticate(`Bearer ${candidate}`, ['bearer']);
        return principal?.kind === 'service' && principal.service === name;
      });
      if (token === undefined) return sendStatus(reply, 401);
      const secure = headerOf(request, 'x-forwarded-proto') === 'https';
      return reply
        .header('set-cookie', serviceCookie(name, token, secure))
        .code(200)
        .send();
    },
  });
}

function asAdmin(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
  exists: boolean,
): FastifyReply {
  if (context.authenticate(request.headers.authorization, ['basic']) === undefined) {
    return reply.header('www-authenticate', 'Basic realm="Authorization Required"').code(401).send();
  }
  return sendStatus(reply, exists ? 200 : 404);
}

function candidatesOf(request: FastifyRequest, service: string): readonly string[] {
  const { authorization } = request.headers;
  if (authorization?.toLowerCase().startsWith('basic ') === true) return [];
  const { token } = request.query as { token?: unknown };
  return tokenCandidates(service, {
    authorization,
    query: typeof token === 'string' ? token : undefined,
    forwardedUri: headerOf(request, 'x-forwarded-uri'),
    cookie: headerOf(request, 'cookie'),
  });
}
