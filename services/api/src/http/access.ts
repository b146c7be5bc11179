import { AppError } from '@sluice/shared/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Authenticate } from '../app/authenticate.ts';
import { can, type Principal } from '../domain/policy.ts';
import { sendJsonText } from './replies.ts';
import './types.ts';

/**
 * One hook for all routes: it finds out who calls and stops the chain where that is not allowed, before a body is read
 * (OSCAR §10.1 goes on). A route that does not say who may call it is refused at start.
 */
export function installAccess(app: FastifyInstance, authenticate: Authenticate): void {
  app.decorateRequest('principal', undefined);
  app.addHook('onRoute', (route) => {
    if (route.config?.access === undefined)
      throw new Error(`${String(route.method)} ${route.url} does not say who may call it`);
  });
  app.addHook('onRequest', (request, reply, done) => {
    const access = request.routeOptions.config.access;
    // Routes that do not exist: 404 before any login (OSCAR §0).
    if (
      request.is404 ||
      access === undefined ||
      access === 'none' ||
      access === 'proxy' ||
      access === 'account'
    ) {
      done();
      return;
    }
    if (access === 'service-token') {
      const service = calledService(request, authenticate);
      if (service === undefined) void reply.code(401).send();
      else done();
      return;
    }
    const principal = authenticate(request.headers.authorization, access.schemes);
    if (principal === undefined) {
      refuseLogin(request, reply);
      return;
    }
    if (!can(principal, access.action)) {
      done(new AppError('forbidden', 'This credential does not allow that.'));
      return;
    }
    request.principal = principal;
    done();
  });
}

/** The service in the path, if the token is its own; it becomes the request's principal. */
function calledService(request: FastifyRequest, authenticate: Authenticate): Principal | undefined {
  const { name } = request.params as { name?: string };
  const principal = authenticate(request.headers.authorization, ['bearer']);
  if (principal?.kind !== 'service' || principal.service !== name) return undefined;
  if (!can(principal, 'service.use', { serviceUid: principal.uid })) return undefined;
  request.principal = principal;
  return principal;
}

/** Of a 401. */
export const challenge = 'Basic realm="Authorization Required"';

/** OSCAR §0: a bare 401 with the challenge; Sluice's routes say more. */
function refuseLogin(request: FastifyRequest, reply: FastifyReply): void {
  void reply.header('www-authenticate', challenge);
  if (request.routeOptions.config.wire === 'sluice') {
    void reply.send(new AppError('unauthenticated', 'The request carries no valid credentials.'));
    return;
  }
  const { access } = request.routeOptions.config;
  const refusal = typeof access === 'object' ? access.bearerRefusal : undefined;
  if (refusal !== undefined && request.headers.authorization?.startsWith('Bearer ') === true) {
    void sendJsonText(reply.code(401), refusal);
    return;
  }
  void reply.code(401).send();
}

/** The caller of a route whose access is not `none`. */
export function principalOf(request: FastifyRequest): Principal {
  const { principal } = request;
  if (principal === undefined)
    throw new Error(`${request.routeOptions.url ?? ''} was reached without a login`);
  return principal;
}
