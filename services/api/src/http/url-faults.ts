import { AppError } from '@sluice/shared/errors';
import type { Wire } from './types.ts';

/** As much of a route as a URL is compared with. */
export interface RoutePlace {
  readonly method: string;
  readonly url: string;
  readonly wire: Wire;
}

export interface UrlFault {
  readonly error: AppError;
  /** Of the route that was meant: its errors look so. */
  readonly wire: Wire;
}

/**
 * What to say of a URL that the router could not read: it names no route then, so the route that was meant is found by the
 * URL as it came.
 */
export function urlFault(
  target: { readonly method: string; readonly url: string },
  routes: readonly RoutePlace[],
  maxLength: number,
): UrlFault {
  const path = target.url.split('?', 1)[0] ?? '';
  const segments = path.replace(/\/+$/, '').split('/');
  const meant = routes.filter(({ url }) => fits(url.split('/'), segments));
  const route = meant.find(({ method }) => method === target.method) ?? meant[0];
  if (route === undefined) return { error: fault('path', 'the path', segments, maxLength), wire: 'oscar' };
  for (const [name, value] of parametersOf(route.url.split('/'), segments)) {
    if (isReadable(value) && value.length <= maxLength) continue;
    return { error: fault(name, name, [value], maxLength), wire: route.wire };
  }
  return { error: fault('path', 'the path', segments, maxLength), wire: route.wire };
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  const isOpen = pattern.at(-1) === '*';
  if (isOpen ? segments.length < pattern.length : segments.length !== pattern.length) return false;
  return pattern.every((part, at) => part === '*' || part.startsWith(':') || part === segments[at]);
}

/** The wildcard at the end of a path is the key of an object. */
function parametersOf(pattern: readonly string[], segments: readonly string[]): [string, string][] {
  return pattern.flatMap((part, at): [string, string][] => {
    if (part === '*') return [['key', segments.slice(at).join('/')]];
    return part.startsWith(':') ? [[part.slice(1), segments[at] ?? '']] : [];
  });
}

function isReadable(encoded: string): boolean {
  try {
    decodeURIComponent(encoded);
    return true;
  } catch {
    return false;
  }
}

function fault(field: string, what: string, values: readonly string[], maxLength: number): AppError {
  const message = values.every((value) => isReadable(value))
    ? `${what}: is longer than ${maxLength} characters`
    : `${what}: must be percent-encoded UTF-8; write "%" itself as "%25"`;
  return new AppError('invalid_input', message, { field });
}
