import { AppError } from '../errors/index.ts';
import type { Clock } from '../lifecycle/index.ts';
import { parseChallenges, type Challenge } from './registry-challenge.ts';
import { registryFailure } from './registry-errors.ts';
import type { RegistryLogin, RegistryLogins } from './registry-logins.ts';
import type { RegistryAnswer, RegistryRequest, RegistryTransport } from './registry-transport.ts';

/** What a request is about, for the token it needs. */
export interface RegistryTarget {
  readonly registry: string;
  readonly host: string;
  /** `library/busybox` */
  readonly repository: string;
  readonly actions: 'pull' | 'pull,push' | 'delete';
}

export type AskRegistry = (
  target: RegistryTarget,
  path: string,
  request: RegistryRequest,
) => Promise<RegistryAnswer>;

const tokenBytes = 256 * 1024;
const maxTokens = 1000;
/** Milliseconds before its end in which a token is not used any more: the request has to arrive. */
const tokenMarginMs = 10_000;
/** Seconds that a token is good for where the server does not say. */
const defaultTokenSeconds = 60;
const maxTokenSeconds = 3600;

/**
 * Requests with whatever the registry wants for them: nothing, name and password, or a token that its token service gives for these
 * (`https://distribution.github.io/distribution/spec/auth/token/`). Asked for only after a refusal, tokens are kept.
 */
export function createRegistryAuth(deps: {
  readonly transport: RegistryTransport;
  readonly logins: RegistryLogins;
  readonly clock: Pick<Clock, 'monotonic'>;
}): AskRegistry {
  const tokens = new Map<string, { readonly value: string; readonly until: number }>();
  const { transport, logins, clock } = deps;
  return async (target, path, request) => {
    const key = `${target.registry} ${target.repository} ${target.actions}`;
    const known = tokens.get(key);
    const usable = known !== undefined && clock.monotonic() < known.until ? known.value : undefined;
    const first = await transport.ask(target.host, path, authorized(request, usable));
    if (first.status !== 401) return first;
    tokens.delete(key);
    const challenges = parseChallenges(first.header('www-authenticate') ?? '');
    const login = await logins(
      target.registry === 'docker.io' ? 'https://index.docker.io/v1/' : target.registry,
    );
    const bearer = challenges.find((one) => one.scheme === 'bearer' && one.parameters['realm']);
    if (bearer === undefined) {
      const takesBasic = challenges.some((one) => one.scheme === 'basic');
      const basic = takesBasic ? basicOf(login) : undefined;
      return basic === undefined ? first : transport.ask(target.host, path, authorized(request, basic));
    }
    const { value, seconds } = await fetchToken(transport, target, bearer, login, request.signal);
    const token = `Bearer ${value}`;
    const [oldest] = tokens.keys();
    if (tokens.size >= maxTokens && oldest !== undefined) tokens.delete(oldest);
    tokens.set(key, { value: token, until: clock.monotonic() + seconds * 1000 - tokenMarginMs });
    return transport.ask(target.host, path, authorized(request, token));
  };
}

function authorized(request: RegistryRequest, authorization: string | undefined): RegistryRequest {
  if (authorization === undefined) return request;
  return { ...request, headers: { ...request.headers, authorization } };
}

function basicOf(login: RegistryLogin | undefined): string | undefined {
  if (login === undefined || !('username' in login)) return undefined;
  return `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`;
}

async function fetchToken(
  transport: RegistryTransport,
  target: RegistryTarget,
  challenge: Challenge,
  login: RegistryLogin | undefined,
  signal: AbortSignal,
): Promise<{ value: string; seconds: number }> {
  const { realm = '', service } = challenge.parameters;
  const scope = challenge.parameters['scope'] ?? `repository:${target.repository}:${target.actions}`;
  const asked = { ...(service === undefined ? {} : { service }), scope };
  const common = { maxBytes: tokenBytes, signal };
  let answer: RegistryAnswer;
  if (login !== undefined && 'identitytoken' in login) {
    const grant = { grant_type: 'refresh_token', client_id: 'sluice', refresh_token: login.identitytoken };
    answer = await transport.askUrl(target.host, realm, {
      ...common,
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ ...asked, ...grant }).toString(),
    });
  } else {
    const basic = basicOf(login);
    const headers: Record<string, string> = basic === undefined ? {} : { authorization: basic };
    const url = withQuery(realm, asked);
    answer = await transport.askUrl(target.host, url, { ...common, method: 'GET', headers });
  }
  if (answer.status !== 200) throw registryFailure(target, answer);
  return readToken(target, answer.body);
}

function withQuery(realm: string, asked: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams(asked).toString();
  return `${realm}${realm.includes('?') ? '&' : '?'}${query}`;
}

function readToken(target: RegistryTarget, body: Buffer): { value: string; seconds: number } {
  const parsed = parseObject(body);
  const value = parsed?.['token'] ?? parsed?.['access_token'];
  // It becomes part of a header.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new AppError('unavailable', `The registry ${target.registry} gives tokens that cannot be read.`);
  }
  const given = parsed?.['expires_in'];
  const seconds = typeof given === 'number' && given > 0 ? given : defaultTokenSeconds;
  return { value, seconds: Math.min(seconds, maxTokenSeconds) };
}

function parseObject(body: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(body.toString());
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : undefined;
  } catch {
    return undefined;
  }
}
