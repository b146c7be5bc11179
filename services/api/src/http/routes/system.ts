import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { allowedImages, ConfigInput, setAllowedImages } from '../../app/image-policy.ts';
import { Overview, readOverview } from '../../app/overview.ts';
import { SystemConfig, systemConfig, SystemInfo, systemInfo } from '../../app/system-info.ts';
import { encodeGoJson } from '../../domain/go-json-encode.ts';
import { bodyOf } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { sendGoJson, sendJsonText, sendText } from '../replies.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';

const ImageList = Type.Array(Type.String());

/** Health, what this installation is, and its figures. */
export function systemRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'GET',
    url: '/health',
    access: 'none',
    wire: 'oscar',
    schema: { summary: 'Says that the server answers.', response: { 200: Type.Literal('Ok') } },
    handler: (_request, reply) => sendText(reply, 'Ok'),
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/info',
    access: admin('system.read'),
    wire: 'oscar',
    schema: { summary: 'Version and machine.', response: { 200: SystemInfo } },
    handler: (_request, reply) => sendGoJson(reply, SystemInfo, systemInfo(context.config)),
  });
  configRoutes(app, context);
  addRoute(app, {
    method: 'GET',
    url: '/system/overview',
    access: admin('system.read'),
    wire: 'sluice',
    schema: { summary: 'One screen about the whole installation.', response: { 200: Overview } },
    handler: async () => readOverview({ ...context, version: context.config.version }),
  });
  addRoute(app, {
    method: 'GET',
    url: '/metrics',
    access: admin('system.read'),
    wire: 'sluice',
    schema: { summary: 'Figures for Prometheus.', response: { 200: Type.String() } },
    handler: async (_request, reply) =>
      reply.header('content-type', context.metrics.contentType).send(await context.metrics.metrics()),
  });
}

function configRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'GET',
    url: '/system/config',
    access: admin('system.read'),
    wire: 'oscar',
    schema: {
      summary: 'What is switched on, and how to reach the S3 server.',
      response: { 200: SystemConfig },
    },
    handler: async (_request, reply) =>
      sendGoJson(reply, SystemConfig, systemConfig(context.config, await allowedImages(context.settings))),
  });
  addRoute(app, {
    method: 'PUT',
    url: '/system/config',
    // OSCAR §1.9.
    access: { ...admin('system.write'), bearerRefusal: '""' },
    wire: 'oscar',
    schema: {
      summary: 'Sets from which registries and repositories images may come.',
      requestBody: ConfigInput,
      response: { 200: ImageList },
    },
    handler: async (request, reply) => {
      const list = await setAllowedImages(bodyOf(request), context.settings);
      return sendJsonText(reply, list === undefined ? 'null' : encodeGoJson(ImageList, [...list]));
    },
  });
}
