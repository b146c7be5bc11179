import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify';
import type { TSchema } from 'typebox';
import type { Access, Wire } from './types.ts';

export interface Route {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly access: Access;
  readonly wire: Wire;
  readonly schema: {
    readonly summary: string;
    readonly params?: TSchema;
    readonly querystring?: TSchema;
    /** For the generated page: bodies of OSCAR's routes are decoded by the use case. */
    readonly requestBody?: TSchema;
    readonly response?: Readonly<Record<number, TSchema>>;
  };
  readonly handler: RouteHandlerMethod;
}

/** Adds a route and, unless it ends with a wildcard, the redirect from its twin with a slash (OSCAR §0). */
export function addRoute(app: FastifyInstance, route: Route): void {
  const { requestBody, ...schema } = route.schema;
  const body = requestBody === undefined ? {} : { 'x-request-body': requestBody };
  app.route({
    method: route.method,
    url: route.url,
    config: { access: route.access, wire: route.wire },
    schema: { ...schema, ...body },
    handler: route.handler,
  });
  if (route.url.endsWith('*') || route.url === '/') return;
  app.route({
    method: route.method,
    url: `${route.url}/`,
    config: { access: 'none', wire: route.wire },
    handler: redirect,
  });
}

/** As Go's `http.Redirect` does: 301 for GET, 307 otherwise, the query kept, before any login. */
function redirect(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const url = request.raw.url ?? '/';
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  // One slash in front: `//host/` would lead elsewhere.
  const target = `/${path.replace(/^\/+|\/+$/g, '')}${query < 0 ? '' : url.slice(query)}`;
  void reply.header('location', target);
  if (request.method !== 'GET') return reply.code(307).send();
  return reply
    .code(301)
    .header('content-type', 'text/html; charset=utf-8')
    .send(`<a href="${escapeHtml(target)}">Moved Permanently</a>.\n\n`);
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (char) => entities[char] ?? char);
}
