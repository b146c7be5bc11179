import type { FastifyInstance } from 'fastify';
import { Type, type Static } from 'typebox';
import { allowedImages, ConfigInput, setAllowedImages } from '../../app/image-policy.ts';
import { Overview, readOverview } from '../../app/overview.ts';
import { SystemChecks } from '../../app/checks.ts';
import { SystemLogs } from '../../app/call-log.ts';
import { readStatus, SystemStatus } from '../../app/system-status.ts';
import { SystemConfig, systemConfig, SystemInfo, systemInfo } from '../../app/system-info.ts';
import { encodeGoJson } from '../../domain/go-json-encode.ts';
import { bodyOf } from '../body.ts';
import type { HttpContext } from '../context.ts';
import { sendGoJson, sendJsonText, sendText } from '../replies.ts';
import { systemExamples } from '../examples/system.ts';
import { goBody, json, text, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';

const ImageList = Type.Array(Type.String());

const LogsQuery = Type.Object({
  timestamps: Type.Optional(Type.Boolean({ description: 'a time in front of `raw`' })),
  previous: Type.Optional(Type.Boolean({ description: 'of the process before this one: always none' })),
});

const docs = {
  health: {
    summary: 'Says that the server answers.',
    tag: 'system',
    response: { 200: text('It does: `Ok`.') },
    example: systemExamples.health,
  },
  info: {
    summary: 'Version and machine.',
    tag: 'system',
    response: { 200: json(SystemInfo, 'What this is.') },
    example: systemExamples.info,
  },
  config: {
    summary: 'What is switched on, and how to reach the S3 server.',
    tag: 'system',
    response: { 200: json(SystemConfig, 'The settings that clients need.') },
    example: systemExamples.config,
  },
  setConfig: {
    summary: 'Sets from which registries and repositories images may come.',
    tag: 'system',
    requestBody: goBody(ConfigInput, []),
    response: { 200: json(ImageList, 'The list as it was sent; `null` where the body has none.') },
    errors: [403],
    example: systemExamples.setConfig,
  },
  status: {
    summary: "Machines, runs and buckets in OSCAR's words.",
    description:
      'Figures of cores are thousandths. Buckets and objects are counted at most once a minute, 1000 objects in each of 200 buckets.',
    tag: 'system',
    response: { 200: json(SystemStatus, 'The state of the installation.') },
    example: systemExamples.status,
  },
  logs: {
    summary: 'The last 1000 calls of services that this process answered, oldest first.',
    tag: 'system',
    querystring: LogsQuery,
    response: { 200: json(SystemLogs, 'One line a call.') },
    example: systemExamples.logs,
  },
  overview: {
    summary: 'One screen about the whole installation.',
    tag: 'system',
    response: { 200: json(Overview, 'Adapters, runs by state, slots.') },
    example: systemExamples.overview,
  },
  checks: {
    summary: 'What every process of the installation finds wrong, and how to mend it.',
    description:
      'The process that answers looks for itself at that moment (some seconds where a server does not answer); of the others it gives what they said in the last 30 seconds.',
    tag: 'system',
    response: { 200: json(SystemChecks, 'Findings, also where there are faults.') },
    example: systemExamples.checks,
  },
  metrics: {
    summary: 'Figures for Prometheus.',
    tag: 'system',
    response: { 200: text('The text format of Prometheus.') },
    example: systemExamples.metrics,
  },
} as const satisfies Record<string, RouteDoc>;

/** Health, what this installation is, and its figures. */
export function systemRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'GET',
    url: '/health',
    access: 'none',
    wire: 'oscar',
    schema: docs.health,
    handler: (_request, reply) => sendText(reply, 'Ok'),
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/info',
    access: admin('system.read'),
    wire: 'oscar',
    schema: docs.info,
    handler: (_request, reply) => sendGoJson(reply, SystemInfo, systemInfo(context.config)),
  });
  configRoutes(app, context);
  stateRoutes(app, context);
  addRoute(app, {
    method: 'GET',
    url: '/system/overview',
    access: admin('system.read'),
    wire: 'sluice',
    schema: docs.overview,
    handler: async () => readOverview({ ...context, version: context.config.version }),
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/checks',
    access: admin('system.read'),
    wire: 'sluice',
    schema: docs.checks,
    handler: async () => context.checks.read(),
  });
  addRoute(app, {
    method: 'GET',
    url: '/metrics',
    access: admin('system.read'),
    wire: 'sluice',
    schema: docs.metrics,
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
    schema: docs.config,
    handler: async (_request, reply) =>
      sendGoJson(reply, SystemConfig, systemConfig(context.config, await allowedImages(context.settings))),
  });
  addRoute(app, {
    method: 'PUT',
    url: '/system/config',
    // OSCAR §1.9.
    access: { ...admin('system.write'), bearerRefusal: '""' },
    wire: 'oscar',
    schema: docs.setConfig,
    handler: async (request, reply) => {
      const list = await setAllowedImages(bodyOf(request), context.settings);
      return sendJsonText(reply, list === undefined ? 'null' : encodeGoJson(ImageList, [...list]));
    },
  });
}

function stateRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'GET',
    url: '/system/status',
    access: admin('system.read'),
    wire: 'oscar',
    schema: docs.status,
    handler: async (_request, reply) =>
      sendGoJson(reply, SystemStatus, await readStatus({ ...context, name: context.config.name })),
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/logs',
    access: admin('system.read'),
    wire: 'oscar',
    schema: docs.logs,
    handler: (request, reply) => {
      const { timestamps = false, previous = false } = request.query as Static<typeof LogsQuery>;
      return sendGoJson(reply, SystemLogs, previous ? { logs: [] } : context.callLog.list({ timestamps }));
    },
  });
}
