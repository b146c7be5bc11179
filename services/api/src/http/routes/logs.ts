import { isFinal, type Run } from '@sluice/shared/contracts';
import type { FastifyInstance } from 'fastify';
import { Type, type Static } from 'typebox';
import { wholeLog } from '../../app/read-log.ts';
import { encodeJobList, JobList } from '../../domain/job-list.ts';
import type { HttpContext } from '../context.ts';
import { sendJsonText, sendPieces, sendStatus, sendText } from '../replies.ts';
import { jobExamples } from '../examples/services.ts';
import { json, nothing, text, type RouteDoc } from '../route-doc.ts';
import { addRoute } from '../route.ts';
import { admin } from '../types.ts';

const Service = Type.Object({ service: Type.String() });
const Job = Type.Object({ service: Type.String(), run: Type.String() });
const ListQuery = Type.Object({ page: Type.Optional(Type.String()) });
const DeleteQuery = Type.Object({ all: Type.Optional(Type.Boolean()) });
const LogQuery = Type.Object({ timestamps: Type.Optional(Type.Boolean()) });

const docs = {
  list: {
    summary: 'Jobs of a service, newest first.',
    tag: 'jobs',
    params: Service,
    querystring: ListQuery,
    response: { 200: json(JobList, 'A page of jobs; `next_page` is the `page` of the next one.') },
    errors: [404],
    example: jobExamples.list,
  },
  removeMany: {
    summary: 'Removes succeeded jobs; `all`: every job, those under way are cancelled.',
    tag: 'jobs',
    params: Service,
    querystring: DeleteQuery,
    response: { 204: nothing('Removed.') },
    errors: [404],
    example: jobExamples.removeMany,
  },
  log: {
    summary: 'The log of a job.',
    tag: 'jobs',
    params: Job,
    querystring: LogQuery,
    response: { 200: text('All that it has printed up to now.') },
    errors: [404],
    example: jobExamples.log,
  },
  remove: {
    summary: 'Removes a job that has ended, cancels another.',
    tag: 'jobs',
    params: Job,
    response: { 204: nothing('Removed or cancelled.') },
    errors: [404],
    example: jobExamples.remove,
  },
} as const satisfies Record<string, RouteDoc>;

/** Runs and their logs in OSCAR's words (OSCAR §1.8). */
export function logRoutes(app: FastifyInstance, context: HttpContext): void {
  manyRoutes(app, context);
  const common = { url: '/system/logs/:service/:run', wire: 'oscar' } as const;
  addRoute(app, {
    ...common,
    method: 'GET',
    access: admin('jobs.read'),
    schema: docs.log,
    handler: async (request, reply) => {
      const { service, run: id } = request.params as Static<typeof Job>;
      const { timestamps = false } = request.query as Static<typeof LogQuery>;
      const run = await context.jobs.get(service, id);
      if (run === undefined) return sendStatus(reply, 404);
      const log = await wholeLog(run, timestamps, context.logs);
      if (log !== undefined) return sendPieces(reply, 'text', log);
      return hasStarted(run) ? sendText(reply, '') : sendStatus(reply, 404);
    },
  });
  addRoute(app, {
    ...common,
    method: 'DELETE',
    access: admin('jobs.delete'),
    schema: docs.remove,
    handler: async (request, reply) => {
      const { service, run } = request.params as Static<typeof Job>;
      return sendStatus(reply, (await context.jobs.remove(service, run)) ? 204 : 404);
    },
  });
}

function manyRoutes(app: FastifyInstance, context: HttpContext): void {
  const common = { url: '/system/logs/:service', wire: 'oscar' } as const;
  addRoute(app, {
    ...common,
    method: 'GET',
    access: admin('jobs.read'),
    schema: docs.list,
    handler: async (request, reply) => {
      const { service } = request.params as Static<typeof Service>;
      const { page } = request.query as Static<typeof ListQuery>;
      const jobs = await context.jobs.list(service, {
        limit: context.config.jobListingLimit,
        ...(page === undefined || page === '' ? {} : { page }),
      });
      return jobs === undefined
        ? sendStatus(reply, 404)
        : sendJsonText(reply, encodeJobList(jobs.items, jobs.next));
    },
  });
  addRoute(app, {
    ...common,
    method: 'DELETE',
    access: admin('jobs.delete'),
    schema: docs.removeMany,
    handler: async (request, reply) => {
      const { service } = request.params as Static<typeof Service>;
      const { all = false } = request.query as Static<typeof DeleteQuery>;
      return sendStatus(reply, (await context.jobs.removeMany(service, all)) ? 204 : 404);
    },
  });
}

/** A process that has printed nothing has an empty log; without a process there is none. */
function hasStarted(run: Run): boolean {
  return run.started_at !== undefined || isFinal(run.state) || run.state === 'running';
}
