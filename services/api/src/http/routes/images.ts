import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { isTag } from '../../domain/build-request.ts';
import { imageOnWire, WireImage, WirePruned } from '../../domain/build-wire.ts';
import { accountOf, deskOf } from '../account-access.ts';
import type { HttpContext } from '../context.ts';
import { imageExamples } from '../examples/builds.ts';
import { sendStatus } from '../replies.ts';
import { json, nothing, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';

const Tag = Type.Object({ tag: Type.String() });
const DeleteQuery = Type.Object({
  force: Type.Optional(Type.Boolean({ description: 'though a service uses it' })),
});
const PruneQuery = Type.Object({
  dry_run: Type.Optional(Type.Boolean({ description: 'says what would go, and removes nothing' })),
});
const ImageList = Type.Object({ images: Type.Array(WireImage) });

const docs = {
  list: {
    summary: "The caller's images.",
    tag: 'images',
    response: { 200: json(ImageList, 'The images.') },
    errors: [403],
    example: imageExamples.list,
  },
  read: {
    summary: 'An image.',
    tag: 'images',
    params: Tag,
    response: { 200: json(WireImage, 'The image.') },
    errors: [403, 404],
    example: imageExamples.read,
  },
  remove: {
    summary: 'Removes a tag; other tags of the same image stay.',
    tag: 'images',
    params: Tag,
    querystring: DeleteQuery,
    response: { 204: nothing('Removed.') },
    errors: [403, 404, 409],
    example: imageExamples.remove,
  },
  prune: {
    summary: "Removes what is too old of everybody's images, and frees the space. For the administrator.",
    tag: 'images',
    querystring: PruneQuery,
    response: { 200: json(WirePruned, 'What went, or would go, and why.') },
    errors: [403, 409],
    example: imageExamples.prune,
  },
} as const satisfies Record<string, RouteDoc>;

/** Built images: each caller sees its own. */
export function imageRoutes(app: FastifyInstance, context: HttpContext): void {
  const common = { access: 'account', wire: 'sluice' } as const;
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/images',
    schema: docs.list,
    handler: async (request) => {
      const images = await deskOf(context).images(accountOf(request));
      return { images: images.map((image) => imageOnWire(image)) };
    },
  });
  addRoute(app, {
    ...common,
    method: 'GET',
    url: '/system/images/:tag',
    schema: docs.read,
    handler: async (request) => {
      const tag = tagOf(request);
      const image = await deskOf(context).image(accountOf(request), tag);
      if (image === undefined) throw noImage(tag);
      return imageOnWire(image);
    },
  });
  addRoute(app, {
    ...common,
    method: 'DELETE',
    url: '/system/images/:tag',
    schema: docs.remove,
    handler: async (request, reply) => {
      const { force = false } = request.query as Static<typeof DeleteQuery>;
      await deskOf(context).deleteImage(accountOf(request), tagOf(request), force);
      return sendStatus(reply, 204);
    },
  });
  addRoute(app, {
    ...common,
    method: 'POST',
    url: '/system/images/prune',
    schema: docs.prune,
    handler: async (request) => {
      if (!accountOf(request).admin)
        throw new AppError('forbidden', 'Only the administrator prunes images: they are everybody’s.');
      const { dry_run: dryRun = false } = request.query as Static<typeof PruneQuery>;
      return deskOf(context).prune({ dryRun });
    },
  });
}

/** What can be no tag is not asked for at the registry. */
function tagOf(request: FastifyRequest): string {
  const { tag } = request.params as Static<typeof Tag>;
  if (!isTag(tag)) throw noImage(tag);
  return tag;
}

function noImage(tag: string): AppError {
  return new AppError('not_found', `There is no image "${tag}" of yours.`);
}
