import type { Clock } from '@sluice/shared/lifecycle';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { CallLog } from '../app/call-log.ts';
import { clientIp } from './client-ip.ts';
import { clientLeft } from './observe.ts';

const callRoutes: ReadonlySet<string> = new Set(['/job/:name', '/run/:name']);
/** OSCAR's name of a caller who shows the token of a service. */
const tokenUser = 'oscar';
/** OSCAR's name of nobody (OSCAR §9.3.3). */
const nobody = 'nil';

/** Keeps a line of each call of a service, refused ones included, for `GET /system/logs`. */
export function installCallLog(
  app: FastifyInstance,
  { callLog, clock }: { readonly callLog: CallLog; readonly clock: Pick<Clock, 'now'> },
): void {
  app.addHook('onRequest', (request, reply, done) => {
    if (isCall(request)) {
      const ip = clientIp(request);
      reply.raw.once('close', () => {
        callLog.add({
          at: clock.now(),
          status: reply.raw.writableFinished ? reply.statusCode : clientLeft,
          ms: reply.elapsedTime,
          clientIp: ip,
          method: request.method,
          path: pathOf(request),
          user: request.principal === undefined ? nobody : tokenUser,
        });
      });
    }
    done();
  });
}

function isCall(request: FastifyRequest): boolean {
  return request.method === 'POST' && callRoutes.has(request.routeOptions.url ?? '');
}

/** Without the query: it may have anything in it. */
function pathOf(request: FastifyRequest): string {
  const url = request.raw.url ?? '/';
  const query = url.search(/[?#]/);
  return query < 0 ? url : url.slice(0, query);
}
