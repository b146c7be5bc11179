import { AppError } from '@sluice/shared/errors';
import type { BuildDesk } from '@sluice/shared/stores';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { createAccountLogin } from '../app/account-login.ts';
import type { Account } from '../ports.ts';
import type { HttpContext } from './context.ts';
import { challenge } from './access.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set where the route's access is `account`. */
    account: Account | undefined;
  }
}

/** Who calls a route of the builder: found out before a body is read. Without a builder nobody is asked who he is. */
export function installAccountAccess(
  app: FastifyInstance,
  { authenticate, builds, config }: Pick<HttpContext, 'authenticate' | 'builds' | 'config'>,
): void {
  const login =
    builds === undefined
      ? undefined
      : createAccountLogin({ authenticate, adminUser: config.adminUser, accounts: builds.accounts });
  app.decorateRequest('account', undefined);
  app.addHook('onRequest', async (request, reply) => {
    if (request.is404 || request.routeOptions.config.access !== 'account') return;
    if (login === undefined) throw noBuilder();
    const { authorization } = request.headers;
    if (authorization === undefined || authorization === '')
      throw refusal(request, reply, 'Missing authorization header');
    request.account = await login(authorization);
    if (request.account === undefined) throw refusal(request, reply, 'Invalid authorization');
  });
}

/** The original's words; a challenge would have browsers ask for a name and a password, which its pages do themselves. */
function refusal(request: FastifyRequest, reply: FastifyReply, message: string): AppError {
  if (request.routeOptions.config.wire === 'openserverless') return new AppError('unauthenticated', message);
  void reply.header('www-authenticate', challenge);
  return new AppError('unauthenticated', 'The request carries no valid credentials.');
}

function noBuilder(): AppError {
  return new AppError(
    'unavailable',
    'This installation builds no images. Set REDIS_URL, BUILDKIT_HOST and REGISTRY_HOST.',
    { retry: 'never' },
  );
}

/** The caller of a route whose access is `account`. */
export function accountOf(request: FastifyRequest): Account {
  const { account } = request;
  if (account === undefined) throw new Error(`${request.routeOptions.url ?? ''} was reached without a login`);
  return account;
}

/** The desk behind a route whose access is `account`. */
export function deskOf({ builds }: Pick<HttpContext, 'builds'>): BuildDesk {
  if (builds === undefined) throw noBuilder();
  return builds.desk;
}
