import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance } from 'fastify';
import { Type, type Static } from 'typebox';
import { presignObject, PresignInput, PresignOutput } from '../../app/presign.ts';
import { BucketEntry, BucketInput, BucketListing } from '../../domain/bucket-wire.ts';
import { decodeGoJson } from '../../domain/go-json-decode.ts';
import { bodyOf } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { sendGoJson, sendPieces, sendStatus } from '../replies.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';

const Bucket = Type.Object({ bucket: Type.String() });
/** A client's `limit` is ignored (OSCAR §1.7). */
const Page = Type.Object({ page: Type.Optional(Type.String()) });

/** Buckets in OSCAR's words (OSCAR §1.7). */
export function bucketRoutes(app: FastifyInstance, context: HttpContext): void {
  const { buckets } = context;
  const common = { access: admin('buckets'), wire: 'oscar' } as const;
  addRoute(app, {
    ...common,
    method: 'POST',
    url: '/system/buckets',
    schema: { summary: 'Makes a bucket.', requestBody: BucketInput },
    handler: async (request, reply) => {
      await buckets.create(bucketInput(bodyOf(request)));
      return sendStatus(reply, 201);
    },
  });
  addRoute(app, {
    ...common,
    method: 'PUT',
    url: '/system/buckets',
    schema: { summary: 'Changes who may use a bucket.', requestBody: BucketInput },
    handler: async (request, reply) => {
      await buckets.update(bucketInput(bodyOf(request)));
      return sendStatus(reply, 204);
    },
  });
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/buckets',
    schema: {
      summary: 'All buckets; null where there are none.',
      response: { 200: Type.Array(BucketEntry) },
    },
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
    schema: {
      summary: 'A bucket and a page of its objects.',
      params: Bucket,
      querystring: Page,
      response: { 200: BucketListing },
    },
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
    schema: { summary: 'Removes a bucket with all that is in it.', params: Bucket },
    handler: async (request, reply) => {
      await buckets.remove((request.params as Static<typeof Bucket>).bucket);
      return sendStatus(reply, 204);
    },
  });
  addRoute(app, {
    ...common,
    method: 'POST',
    url: '/system/buckets/:bucket/presign',
    schema: {
      summary: 'A URL for one object.',
      params: Bucket,
      requestBody: PresignInput,
      response: { 200: PresignOutput },
    },
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
