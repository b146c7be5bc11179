import { tokenLength } from './credentials.ts';

/** What of a request may carry the token of a service. */
export interface TokenSources {
  readonly authorization: string | undefined;
  /** `token` of the query. */
  readonly query: string | undefined;
  /** Path and query of the request that a proxy asks about. */
  readonly forwardedUri: string | undefined;
  readonly cookie: string | undefined;
}

/** OSCAR §3.5: a cookie of its own for each service. */
export function cookieName(service: string): string {
  return `oscar_service_${service.replaceAll('-', '_')}_auth`;
}

/** The cookie that keeps a token for the paths of an exposed service. */
export function serviceCookie(service: string, token: string, secure: boolean): string {
  const parts = [
    `${cookieName(service)}=${token}`,
    `Path=/system/services/${service}/exposed`,
    'HttpOnly',
    'SameSite=Lax',
  ];
  return [...parts, ...(secure ? ['Secure'] : [])].join('; ');
}

/** The texts that may be the service's token, best first (OSCAR §3.5): a bearer header keeps out all others. */
export function tokenCandidates(service: string, sources: TokenSources): readonly string[] {
  const { authorization } = sources;
  const texts =
    authorization?.startsWith('Bearer ') === true
      ? [authorization.slice('Bearer '.length)]
      : [sources.query, tokenOfUri(sources.forwardedUri), cookieOf(sources.cookie, cookieName(service))];
  return texts.filter((text) => text?.length === tokenLength) as string[];
}

function tokenOfUri(uri: string | undefined): string | undefined {
  const query = uri === undefined ? -1 : uri.indexOf('?');
  if (uri === undefined || query < 0) return undefined;
  return new URLSearchParams(uri.slice(query + 1)).get('token') ?? undefined;
}

function cookieOf(header: string | undefined, name: string): string | undefined {
  for (const pair of header?.split(';') ?? []) {
    const equals = pair.indexOf('=');
    if (pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return undefined;
}
