import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance } from 'fastify';
import { Type, type Static } from 'typebox';
import { presignObject, PresignInput, PresignOutput } from '../../app/presign.ts';
import { BucketEntry, BucketInput, BucketListing } from '../../domain/bucket-wire.ts';
import { decodeGoJson } from '../../domain/go-json-decode.ts';
import { bodyOf } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { sendGoJson, sendPieces, sendStatus } from '../replies.ts';
import { bucketExamples } from '../examples/buckets.ts';
import { goBody, json, nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';

const Bucket = Type.Object({ bucket: Type.String() });
/** A client's `limit` is ignored (OSCAR §1.7). */
const Page = Type.Object({ page: Type.Optional(Type.String()) });

const docs = {
  create: {
    summary: 'Makes a bucket.',
    tag: 'buckets',
    requestBody: goBody(BucketInput, ['bucket_name']),
    response: { 201: nothing('Made.') },
    errors: [409],
    example: bucketExamples.create,
  },
  update: {
    summary: 'Changes who may use a bucket.',
    tag: 'buckets',
    requestBody: goBody(BucketInput, ['bucket_name']),
    response: { 204: nothing('Changed.') },
    errors: [403, 404],
    example: bucketExamples.update,
  },
  list: {
    summary: 'All buckets.',
    tag: 'buckets',
    response: { 200: json(Type.Array(BucketEntry), 'The buckets by name; `null` where there are none.') },
    example: bucketExamples.list,
  },
  read: {
    summary: 'A bucket and a page of its objects.',
    tag: 'buckets',
    params: Bucket,
    querystring: Page,
    response: { 200: json(BucketListing, 'The bucket.') },
    errors: [404],
    example: bucketExamples.read,
  },
  remove: {
    summary: 'Removes a bucket with all that is in it.',
    tag: 'buckets',
    params: Bucket,
    response: { 204: nothing('Removed.') },
    errors: [404, 409],
    example: bucketExamples.remove,
  },
  presign: {
    summary: 'A URL for one object.',
    tag: 'buckets',
    params: Bucket,
    requestBody: goBody(PresignInput, ['object_key', 'operation']),
    response: { 200: json(PresignOutput, 'The URL, and the headers that a call of it has to send.') },
    errors: [404],
    example: bucketExamples.presign,
  },
} as const satisfies Record<string, RouteDoc>;

/** Buckets in OSCAR's words (OSCAR §1.7). */
export function bucketRoutes(app: FastifyInstance, context: HttpContext): void {
  const { buckets } = context;
  const common = { access: admin('buckets'), wire: 'oscar' } as const;
  addRoute(app, {
    ...common,
    method: 'POST',
    url: '/system/buckets',
    schema: docs.create,
    handler: async (request, reply) => {
      await buckets.create(bucketInput(bodyOf(request)));
      return sendStatus(reply, 201);
    },
  });
  addRoute(app, {
    ...common,
    method: 'PUT',
    url: '/system/buckets',
    schema: docs.update,
    handler: async (request, reply) => {
      await buckets.update(bucketInput(bodyOf(request)));
      return sendStatus(reply, 204);
    },
  });
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/buckets',
    schema: docs.list,
    handler: (_request, reply) => sendPieces(reply, 'json', buckets.list()),
  });
  oneBucketRoutes(app, context);
}

function oneBucketRoutes(app: FastifyInstance, context: HttpContext): void {
  const { buckets } = context;
  const common = { access: admin('buckets'), wire: 'oscar' } as const;
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/buckets/:bucket',
    schema: docs.read,
    handler: async (request, reply) => {
      const { bucket } = request.params as Static<typeof Bucket>;
      const { page } = request.query as Static<typeof Page>;
      return sendGoJson(reply, BucketListing, await buckets.read(bucket, page));
    },
  });
  addRoute(app, {
    ...common,
    method: 'DELETE',
    url: '/system/buckets/:bucket',
    schema: docs.remove,
    handler: async (request, reply) => {
      await buckets.remove((request.params as Static<typeof Bucket>).bucket);
      return sendStatus(reply, 204);
    },
  });
  addRoute(app, {
    ...common,
    method: 'POST',
    url: '/system/buckets/:bucket/presign',
    schema: docs.presign,
    handler: async (request, reply) => {
      const { bucket } = request.params as Static<typeof Bucket>;
      return sendGoJson(reply, PresignOutput, await presignObject(bucket, bodyOf(request), context));
    },
  });
}

function bucketInput(body: Uint8Array): BucketInput {
  try {
    return decodeGoJson(BucketInput, body, { root: 'MinIOBucket' });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw new AppError('invalid_input', `The Bucket specification is not valid: ${error.message}`, {
      cause: error,
    });
  }
}
