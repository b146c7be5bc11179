import type { Span } from '@sluice/shared/telemetry';
import type { Scheme } from '../app/authenticate.ts';
import type { Action, Principal } from '../domain/policy.ts';

/** How a route writes what is wrong: as OSCAR (text), as Sluice (problem+json) or as OpenServerless (JSON with `status: ko`). */
export type Wire = 'oscar' | 'sluice' | 'openserverless';

/** Who may call a route. There is no default: a route without it does not start. */
export type Access =
  /** Nobody has to prove anything, or the route itself checks (a presigned URL). */
  | 'none'
  /** The token of the service that the path names (OSCAR §3.3): a bare 401 without it. */
  | 'service-token'
  /** The administrator, or a service's token in one of the places where a proxy may find it: the route itself looks (OSCAR §3.5). */
  | 'proxy'
  /** An account of the builder, or the administrator in the same words (`account-access.ts`). */
  | 'account'
  | {
      readonly schemes: readonly Scheme[];
      readonly action: Action;
      /** Body of the 401 for a bearer token; none by default. */
      readonly bearerRefusal?: '""';
    };

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
    wire?: Wire;
    /** Bytes of a body, where that is not the limit of all. */
    bodyBytes?: number;
  }
  interface FastifyRequest {
    /** Set where the route's access is not `none`. */
    principal: Principal | undefined;
    /** `Content-Type` as it came; Fastify itself does not see it. */
    contentType: string | undefined;
    /** The request's span: what it causes is its child. */
    span: Span;
  }
}

/** OSCAR's system auth (OSCAR §3.1). */
export function admin(action: Action): Exclude<Access, string> {
  return { schemes: ['basic'], action };
}

/** Sluice's own routes that a service may call, too. */
export function adminOrService(action: Action): Access {
  return { schemes: ['basic', 'bearer'], action };
}
