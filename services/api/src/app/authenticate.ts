import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from '@sluice/shared/config';
import { readCredentials, tokenLength } from '../domain/credentials.ts';
import type { Principal } from '../domain/policy.ts';
import type { Directory } from './directory.ts';

/** Which kinds of credentials a route takes. */
export type Scheme = 'basic' | 'bearer';

/** The caller behind an `Authorization` header; undefined where the header does not prove one. */
export type Authenticate = (header: string | undefined, schemes: readonly Scheme[]) => Principal | undefined;

/** Basic for the administrator (OSCAR §3.1), a bearer token for a service (OSCAR §3.3); compared in constant time. */
export function createAuthenticate(deps: {
  readonly adminUser: string;
  readonly adminPassword: Secret;
  readonly directory: Pick<Directory, 'byToken'>;
}): Authenticate {
  const admin = digest(`${deps.adminUser}:${deps.adminPassword.reveal()}`);
  return (header, schemes) => {
    const credentials = readCredentials(header);
    if (credentials === undefined || !schemes.includes(credentials.kind)) return undefined;
    if (credentials.kind === 'basic') {
      return timingSafeEqual(digest(credentials.pair), admin)
        ? { kind: 'admin', name: deps.adminUser }
        : undefined;
    }
    if (credentials.token.length !== tokenLength) return undefined;
    const service = deps.directory.byToken(credentials.token);
    return service === undefined ? undefined : { kind: 'service', service: service.name, uid: service.uid };
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
