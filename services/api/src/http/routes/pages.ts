import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type, type Static } from 'typebox';
import type { HttpContext } from '../context.ts';
import { pageExamples } from '../examples/pages.ts';
import {
  bytes,
  htmlType,
  json,
  nothing,
  type Answer,
  type DocumentedRoute,
  type RouteDoc,
} from '../route-doc.ts';
import { addRoute } from '../route.ts';

const File = Type.Object({ file: Type.String() });
const OpenApi = Type.Object({ openapi: Type.Literal('3.1.0') }, { additionalProperties: true });

const page = (description: string): Answer => bytes(description, undefined, htmlType);
const docs = {
  home: {
    summary: 'What this is and where to go from here.',
    tag: 'pages',
    response: { 200: page('A page for people.') },
    example: pageExamples.home,
  },
  homeHead: {
    summary: 'Says that the page is there.',
    tag: 'pages',
    response: { 200: nothing('It is.') },
    example: pageExamples.homeHead,
  },
  ui: {
    summary: "Where OSCAR's dashboard would be: leads to the first page.",
    tag: 'pages',
    response: { 301: page('To `/`.') },
    example: pageExamples.ui,
  },
  openapi: {
    summary: 'This description of the API.',
    tag: 'pages',
    response: { 200: json(OpenApi, 'OpenAPI 3.1.') },
    example: pageExamples.openapi,
  },
  docs: {
    summary: 'The description as a page to read and try.',
    tag: 'pages',
    response: { 200: page('Swagger UI.') },
    example: pageExamples.docs,
  },
  docsFile: {
    summary: 'What the page of the description is made of.',
    tag: 'pages',
    params: File,
    response: { 200: bytes('A script, a style or a picture.') },
    errors: [404],
    example: pageExamples.docsFile,
  },
} as const satisfies Record<string, RouteDoc>;

/**
 * Pages for a browser, and the description of the API. They hold no data: nobody has to log in. What they are made of is
 * loaded when somebody asks for it.
 */
export function pageRoutes(
  app: FastifyInstance,
  context: HttpContext,
  routes: readonly DocumentedRoute[],
): void {
  const { version } = context.config;
  const common = { access: 'none', wire: 'sluice' } as const;
  const home = async (reply: FastifyReply): Promise<FastifyReply> => {
    const { homePage } = await import('../pages/home.ts');
    return sendPage(reply, homePage(version));
  };
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/',
    schema: docs.home,
    handler: (_request, reply) => home(reply),
  });
  addRoute(app, {
    ...common,
    method: 'HEAD',
    url: '/',
    schema: docs.homeHead,
    handler: (_request, reply) => home(reply),
  });
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/ui',
    schema: docs.ui,
    handler: (_request, reply) =>
      reply.code(301).headers({ location: '/', 'content-type': html }).send('<a href="/">/</a>\n'),
  });
  let description: Promise<Buffer> | undefined;
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/openapi.json',
    schema: docs.openapi,
    handler: async (_request, reply) => {
      description ??= describe(routes, version);
      return reply.header('content-type', 'application/json; charset=utf-8').send(await description);
    },
  });
  docsRoutes(app);
}

const html = 'text/html; charset=utf-8';

async function describe(routes: readonly DocumentedRoute[], version: string): Promise<Buffer> {
  const { openApiDocument } = await import('../openapi/document.ts');
  return Buffer.from(JSON.stringify(openApiDocument(routes, version)));
}

function docsRoutes(app: FastifyInstance): void {
  const common = { access: 'none', wire: 'sluice', method: 'GET' } as const;
  addRoute(app, {
    ...common,
    url: '/docs',
    schema: docs.docs,
    handler: async (_request, reply) => {
      const { docsPage } = await import('../pages/docs.ts');
      return sendPage(reply, docsPage());
    },
  });
  addRoute(app, {
    ...common,
    url: '/docs/:file',
    schema: docs.docsFile,
    handler: async (request, reply) => {
      const { docsFile } = await import('../pages/docs.ts');
      const { file } = request.params as Static<typeof File>;
      const { type, size, body } = await docsFile(file);
      return reply
        .headers({
          'content-type': type,
          'content-length': String(size),
          'cache-control': 'public, max-age=3600',
          'x-content-type-options': 'nosniff',
        })
        .send(body);
    },
  });
}

function sendPage(
  reply: FastifyReply,
  page: { readonly html: string; readonly policy: string },
): FastifyReply {
  return reply
    .headers({
      'content-type': html,
      // Of this version, which may be another one after the next start.
      'cache-control': 'no-cache',
      'content-security-policy': page.policy,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    })
    .send(page.html);
}
