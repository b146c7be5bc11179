import { Readable } from 'node:stream';
import { AppError } from '@sluice/shared/errors';
import { SYSTEM_BUCKET, type ObjectHead, type PutOptions } from '@sluice/shared/stores';
import { noTracer } from '@sluice/shared/telemetry';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { readConditions, type Conditions } from '../../domain/conditions.ts';
import { wireTime } from '../../domain/run-wire.ts';
import { installStreams } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { sendStatus } from '../replies.ts';
import { objectExamples } from '../examples/buckets.ts';
import { anyBody, bytes, json, nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';

const Bucket = Type.Object({ bucket: Type.String() });
const ListQuery = Type.Object({
  prefix: Type.Optional(Type.String()),
  after: Type.Optional(Type.String()),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
});
const ObjectList = Type.Object({
  objects: Type.Array(
    Type.Object({
      key: Type.String(),
      size: Type.Integer(),
      etag: Type.String(),
      last_modified: Type.String(),
    }),
  ),
  next: Type.Optional(Type.String()),
});
const PutHeaders = Type.Object({
  'If-Match': Type.Optional(Type.String({ description: 'the etag that the object must have' })),
  'If-None-Match': Type.Optional(Type.Literal('*', { description: 'only where there is no such object' })),
  'X-Amz-Meta-camera': Type.Optional(Type.String({ description: 'any number of `X-Amz-Meta-…` headers' })),
});
const GetHeaders = Type.Object({
  'If-Match': Type.Optional(Type.String({ description: 'the etag that the object must have' })),
  'If-None-Match': Type.Optional(Type.String({ description: 'etags that the caller has: 304' })),
});
const etag = { ETag: Type.String() };
const head = {
  ...etag,
  'Content-Length': Type.Integer(),
  'Last-Modified': Type.String(),
};

const put = { tag: 'objects', params: Bucket, headers: PutHeaders, requestBody: anyBody } as const;
const get = { tag: 'objects', params: Bucket, headers: GetHeaders } as const;
const docs = {
  list: {
    summary: 'Objects by key.',
    tag: 'objects',
    params: Bucket,
    querystring: ListQuery,
    response: { 200: json(ObjectList, "A page; `next` is the next page's `after`.") },
    errors: [404],
    example: objectExamples.list,
  },
  put: {
    ...put,
    summary: 'Stores an object; the body is its bytes.',
    response: { 201: nothing('Stored.', etag) },
    errors: [404, 412, 507],
    example: objectExamples.put,
  },
  get: {
    ...get,
    summary: 'The bytes of an object.',
    response: { 200: bytes('The bytes.', head), 304: nothing('The caller has it.', etag) },
    errors: [400, 404, 412],
    example: objectExamples.get,
  },
  head: {
    ...get,
    summary: 'What GET says beside the bytes.',
    response: { 200: nothing('It is there.', head), 304: nothing('The caller has it.', etag) },
    errors: [400, 404, 412],
    example: objectExamples.head,
  },
  remove: {
    summary: 'Removes an object; absent is fine.',
    tag: 'objects',
    params: Bucket,
    response: { 204: nothing('It is not there any more.') },
    errors: [400, 404],
    example: objectExamples.remove,
  },
  putPresigned: {
    ...put,
    summary: 'Stores an object by presigned URL.',
    response: { 200: nothing('Stored.', etag) },
    errors: [403, 404, 412, 503, 507],
    example: objectExamples.putPresigned,
    presigned: true,
  },
  getPresigned: {
    ...get,
    summary: 'The bytes of an object by presigned URL.',
    response: { 200: bytes('The bytes.', head), 304: nothing('The caller has it.', etag) },
    errors: [400, 403, 404, 412, 503],
    example: objectExamples.getPresigned,
    presigned: true,
  },
} as const satisfies Record<string, RouteDoc>;

const metadataHeader = 'x-amz-meta-';
const defaultType = 'application/octet-stream';

/** Objects as streams, for the administrator and by presigned URL. In a scope of its own, where bodies are not read ahead. */
export function objectRoutes(app: FastifyInstance, context: HttpContext): void {
  installStreams(app);
  const common = { access: admin('objects'), wire: 'sluice' } as const;
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/buckets/:bucket/objects',
    schema: docs.list,
    handler: async (request) => listObjects(request, context),
  });
  const url = '/system/buckets/:bucket/objects/*';
  addRoute(app, {
    ...common,
    method: 'PUT',
    url,
    schema: docs.put,
    handler: async (request, reply) => putObject(request, reply.code(201), context),
  });
  addRoute(app, {
    ...common,
    method: 'GET',
    url,
    schema: docs.get,
    handler: async (request, reply) => getObject(request, reply, context),
  });
  addRoute(app, {
    ...common,
    method: 'HEAD',
    url,
    schema: docs.head,
    handler: async (request, reply) => headObject(request, reply, context),
  });
  addRoute(app, {
    ...common,
    method: 'DELETE',
    url,
    schema: docs.remove,
    handler: async (request, reply) => {
      await context.objects.remove(bucketOf(request), keyOf(request));
      return sendStatus(reply, 204);
    },
  });
  presignedRoutes(app, context);
}

async function listObjects(
  request: FastifyRequest,
  context: HttpContext,
): Promise<Static<typeof ObjectList>> {
  const { prefix = '', limit = 1000, after } = request.query as Static<typeof ListQuery>;
  const query = { prefix, limit, ...(after === undefined ? {} : { after }) };
  const page = await context.objects.list(bucketOf(request), query);
  const objects = page.objects.map(({ key, size, etag, lastModified }) => ({
    key,
    size,
    etag,
    last_modified: wireTime(lastModified),
  }));
  return { objects, ...(page.next === undefined ? {} : { next: page.next }) };
}

/** No login: the URL is the proof, checked before anything is read. */
function presignedRoutes(app: FastifyInstance, context: HttpContext): void {
  const common = { url: '/objects/:bucket/*', access: 'none', wire: 'sluice' } as const;
  addRoute(app, {
    ...common,
    method: 'PUT',
    schema: docs.putPresigned,
    handler: async (request, reply) => {
      const grant = verify(request, context);
      return putObject(request, reply.code(200), context, grant.contentType);
    },
  });
  addRoute(app, {
    ...common,
    method: 'GET',
    schema: docs.getPresigned,
    handler: async (request, reply) => {
      const grant = verify(request, context);
      return getObject(request, reply, context, grant.contentType);
    },
  });
}

function verify(request: FastifyRequest, context: HttpContext): { readonly contentType?: string } {
  const { contentType } = request;
  return context.verifier.verify({
    method: request.method,
    bucket: bucketOf(request),
    key: keyOf(request),
    query: new URL(request.raw.url ?? '/', 'http://localhost').searchParams,
    headers:
      contentType === undefined ? request.headers : { ...request.headers, 'content-type': contentType },
  });
}

async function putObject(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
  contentType = request.contentType,
): Promise<FastifyReply> {
  const { ifMatch, ifNoneMatch } = conditionsOf(request);
  if (Array.isArray(ifNoneMatch)) {
    throw new AppError('invalid_input', 'An upload takes If-None-Match: * only.', { field: 'If-None-Match' });
  }
  const length = request.headers['content-length'];
  const options: PutOptions = {
    metadata: traced(metadataOf(request), request, context),
    ...(contentType === undefined || contentType === '' ? {} : { contentType }),
    ...(ifMatch === undefined ? {} : { ifMatch }),
    ...(ifNoneMatch === '*' ? { ifNoneMatch } : {}),
    ...(length === undefined ? {} : { size: Number(length) }),
  };
  const body = request.body instanceof Readable ? request.body : new Uint8Array(0);
  const stored = await context.objects.put(bucketOf(request), keyOf(request), body, options);
  return reply.header('etag', `"${stored.etag}"`).send();
}

async function getObject(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
  contentType?: string,
): Promise<FastifyReply> {
  const { ifMatch, ifNoneMatch } = conditionsOf(request);
  const options = ifMatch === undefined ? {} : { ifMatch };
  const { info, body } = await context.objects.get(bucketOf(request), keyOf(request), options);
  if (isKnown(info, ifNoneMatch)) {
    body.destroy();
    return reply.code(304).header('etag', `"${info.etag}"`).send();
  }
  return withHead(reply, info, contentType).send(body);
}

async function headObject(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
): Promise<FastifyReply> {
  const { ifMatch, ifNoneMatch } = conditionsOf(request);
  const info = await context.objects.head(bucketOf(request), keyOf(request));
  if (info === undefined) throw new AppError('not_found', 'There is no such object.');
  if (ifMatch !== undefined && ifMatch !== info.etag) {
    throw new AppError('precondition_failed', 'The object has another etag.');
  }
  if (isKnown(info, ifNoneMatch)) return reply.code(304).header('etag', `"${info.etag}"`).send();
  return withHead(reply, info).send();
}

function isKnown(info: ObjectHead, ifNoneMatch: Conditions['ifNoneMatch']): boolean {
  return ifNoneMatch === '*' || ifNoneMatch?.includes(info.etag) === true;
}

function withHead(reply: FastifyReply, info: ObjectHead, contentType = info.contentType): FastifyReply {
  const metadata = Object.entries(info.metadata).map(
    ([name, value]) => [`${metadataHeader}${name}`, value] as const,
  );
  return reply.headers({
    ...Object.fromEntries(metadata),
    'content-type': contentType === '' ? defaultType : contentType,
    'content-length': String(info.size),
    etag: `"${info.etag}"`,
    'last-modified': new Date(info.lastModified).toUTCString(),
    // What users stored is never run as a page of this server.
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; sandbox",
  });
}

function conditionsOf(request: FastifyRequest): Conditions {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers;
  return readConditions({
    ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }),
    ...(ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch }),
  });
}

function metadataOf(request: FastifyRequest): Record<string, string> {
  const entries = Object.entries(request.headers)
    .filter(([name]) => name.startsWith(metadataHeader))
    .map(([name, value]) => [
      name.slice(metadataHeader.length),
      Array.isArray(value) ? value.join(', ') : (value ?? ''),
    ]);
  return Object.fromEntries(entries) as Record<string, string>;
}

/** Bytes that metadata may have besides the trace context. */
const metadataRoom = 1900;

/** An upload begins the trace of what comes of it, unless the caller says another or there is no room. */
function traced(
  metadata: Record<string, string>,
  request: FastifyRequest,
  { tracer }: HttpContext,
): Record<string, string> {
  const size = Object.entries(metadata).reduce(
    (sum, [name, value]) => sum + name.length + Buffer.byteLength(value),
    0,
  );
  if (tracer === noTracer || metadata['traceparent'] !== undefined || size > metadataRoom) return metadata;
  return { ...metadata, traceparent: request.span.traceparent };
}

function bucketOf(request: FastifyRequest): string {
  const { bucket } = request.params as Static<typeof Bucket>;
  if (bucket === SYSTEM_BUCKET) throw new AppError('not_found', `There is no bucket "${bucket}".`);
  return bucket;
}

/** The key from the URL as it came, decoded exactly once; the router's own decoding is not asked. */
function keyOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '';
  const path = url.split('?', 1)[0] ?? '';
  const encoded =
    /^(?:\/system\/buckets\/[^/]+)?\/objects\/(?:(?<=^\/objects\/)[^/]+\/)?(.*)$/s.exec(path)?.[1] ?? '';
  try {
    return decodeURIComponent(encoded);
  } catch (error) {
    throw new AppError('invalid_input', 'The key in the URL is not percent-encoded UTF-8.', {
      field: 'key',
      cause: error,
    });
  }
}
