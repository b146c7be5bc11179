import type { StoredDefinition } from '@sluice/shared/stores';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type, type Static } from 'typebox';
import { DeploymentLogs, parseTailLines, readDeploymentLogs } from '../../app/deployment-logs.ts';
import { changeLifecycle, type LifecycleAction } from '../../app/lifecycle.ts';
import { DeploymentStatus, deploymentStatus } from '../../domain/deployment.ts';
import type { HttpContext } from '../context.ts';
import { sendGoJson, sendStatus, sendText } from '../replies.ts';
import { deploymentExamples } from '../examples/deployment.ts';
import { json, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';
import { isServiceName } from './services.ts';

const Name = Type.Object({ name: Type.String() });
const LogsQuery = Type.Object({
  timestamps: Type.Optional(Type.Boolean()),
  tailLines: Type.Optional(Type.String({ description: '1 to 1000; anything else is 200' })),
});

const state = { 200: json(DeploymentStatus, 'The state of its warm runners.') };
const docs = {
  read: {
    summary: 'State of the warm runners of a service.',
    tag: 'services',
    params: Name,
    response: state,
    errors: [404],
    example: deploymentExamples.read,
  },
  logs: {
    summary: 'What the warm runners of a service printed last.',
    tag: 'services',
    params: Name,
    querystring: LogsQuery,
    response: { 200: json(DeploymentLogs, 'Lines of all its runners, oldest first.') },
    errors: [404],
    example: deploymentExamples.logs,
  },
  stop: {
    summary:
      'Ends the warm runners of a service: calls are refused until it is started; jobs and files go on.',
    tag: 'services',
    params: Name,
    response: state,
    errors: [404, 409],
    example: deploymentExamples.stop,
  },
  start: {
    summary: 'Lets a stopped service take calls again.',
    tag: 'services',
    params: Name,
    response: state,
    errors: [404, 409],
    example: deploymentExamples.start,
  },
  restart: {
    summary: 'Replaces the warm runners of a service.',
    tag: 'services',
    params: Name,
    response: state,
    errors: [404, 409],
    example: deploymentExamples.restart,
  },
} as const satisfies Record<string, RouteDoc>;

/** The runtime of a service, which is its warm runners (OSCAR §1.6). */
export function deploymentRoutes(app: FastifyInstance, context: HttpContext): void {
  addRoute(app, {
    method: 'GET',
    url: '/system/services/:name/deployment',
    access: admin('services.read'),
    wire: 'oscar',
    schema: docs.read,
    handler: (request, reply) =>
      withService(request, reply, context, (stored) => sendState(reply, stored, context)),
  });
  addRoute(app, {
    method: 'GET',
    url: '/system/services/:name/deployment/logs',
    access: admin('services.read'),
    wire: 'oscar',
    schema: docs.logs,
    handler: (request, reply) =>
      withService(request, reply, context, async ({ name, uid }) => {
        const { timestamps = false, tailLines = '' } = request.query as Static<typeof LogsQuery>;
        const options = { timestamps, tail: parseTailLines(tailLines) };
        return sendGoJson(
          reply,
          DeploymentLogs,
          await readDeploymentLogs({ name, uid }, options, context.runners),
        );
      }),
  });
  for (const action of ['stop', 'start', 'restart'] as const) lifecycleRoute(app, action, context);
}

function lifecycleRoute(app: FastifyInstance, action: LifecycleAction, context: HttpContext): void {
  addRoute(app, {
    method: 'POST',
    url: `/system/services/:name/${action}`,
    access: admin('services.write'),
    wire: 'oscar',
    schema: docs[action],
    handler: async (request, reply) => {
      const { name } = request.params as Static<typeof Name>;
      if (!isServiceName(name)) return sendText(reply.code(400), 'invalid serviceName');
      const stored = await changeLifecycle(name, action, context);
      return stored === undefined ? sendStatus(reply, 404) : sendState(reply, stored, context);
    },
  });
}

async function withService(
  request: FastifyRequest,
  reply: FastifyReply,
  context: HttpContext,
  answer: (stored: StoredDefinition) => FastifyReply | Promise<FastifyReply>,
): Promise<FastifyReply> {
  const { name } = request.params as Static<typeof Name>;
  if (!isServiceName(name)) return sendText(reply.code(400), 'invalid serviceName');
  const stored = await context.definitions.get(name);
  return stored === undefined ? sendStatus(reply, 404) : answer(stored);
}

function sendState(reply: FastifyReply, stored: StoredDefinition, context: HttpContext): FastifyReply {
  return sendGoJson(reply, DeploymentStatus, deploymentStatus(stored, context.runners.runnersOf(stored)));
}
