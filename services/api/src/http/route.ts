import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify';
import type { DocumentedRoute, RouteDoc } from './route-doc.ts';
import type { Access, Wire } from './types.ts';

export interface Route {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly access: Access;
  readonly wire: Wire;
  readonly schema: RouteDoc;
  /** Bytes of a body, where that is not the limit of all. */
  readonly bodyBytes?: number;
  readonly handler: RouteHandlerMethod;
}

/** Adds a route and, unless it ends with a wildcard, the redirect from its twin with a slash (OSCAR §0). */
export function addRoute(app: FastifyInstance, route: Route): void {
  const { params, querystring } = route.schema;
  app.route({
    method: route.method,
    url: route.url,
    config: {
      access: route.access,
      wire: route.wire,
      doc: route.schema,
      ...(route.bodyBytes === undefined ? {} : { bodyBytes: route.bodyBytes }),
    },
    schema: {
      ...(params === undefined ? {} : { params }),
      ...(querystring === undefined ? {} : { querystring }),
    },
    handler: route.handler,
  });
  if (route.url.endsWith('*') || route.url === '/') return;
  app.route({
    method: route.method,
    url: `${route.url}/`,
    config: { access: 'none', wire: route.wire, doc: 'redirect' },
    handler: redirect,
  });
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/**
 * Answers other methods of a route before any login, and `OPTIONS` with what there is, as Flask does; all other routes of ours say that
 * there is nothing (OSCAR §0).
 */
export function refuseMethods(
  app: FastifyInstance,
  { url, allowed, wire }: { readonly url: string; readonly allowed: Route['method']; readonly wire: Wire },
  refuse: (reply: FastifyReply) => FastifyReply,
): void {
  const allow = `OPTIONS, ${allowed}`;
  // Before a body is read, in hooks: what a handler is given for has been read.
  const add = (method: string | string[], answer: (reply: FastifyReply) => FastifyReply): void => {
    const send = async (_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
      answer(reply.header('allow', allow));
    app.route({
      method,
      url,
      config: { access: 'none', wire, doc: 'refusal' },
      onRequest: send,
      handler: send,
    });
  };
  add(
    methods.filter((method) => method !== allowed),
    refuse,
  );
  add('OPTIONS', (reply) => reply.code(200).send());
}

function schemesOf(access: Access | undefined): DocumentedRoute['schemes'] {
  if (access === 'service-token') return ['bearer'];
  if (access === 'proxy') return ['basic', 'bearer'];
  if (access === 'account') return ['basic', 'account'];
  return typeof access === 'object' ? access.schemes : [];
}

/** Collects what the routes that are added from now on say of themselves. One that says nothing is refused at start. */
export function collectRoutes(app: FastifyInstance): readonly DocumentedRoute[] {
  const routes: DocumentedRoute[] = [];
  app.addHook('onRoute', (route) => {
    const { access, wire = 'sluice', doc } = route.config ?? {};
    if (doc === 'redirect' || doc === 'refusal') return;
    const name = `${String(route.method)} ${route.url}`;
    if (doc === undefined) throw new Error(`${name} does not say what it does`);
    routes.push({
      method: String(route.method),
      url: route.url,
      schemes: schemesOf(access),
      wire,
      doc,
    });
  });
  return routes;
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
