import { X509Certificate } from 'node:crypto';
import { lstatSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, notFound, systemCode, usageError } from '../cli-error.ts';
import { readFileOrPipe, readRegularFile } from '../files/small-file.ts';
import type { Profile, ProfileConfig } from '../profiles/config.ts';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** The server to speak to, and how it was found. */
export interface Connection {
  /** Without credentials, query or slash at the end. */
  readonly url: URL;
  readonly credentials: Credentials | undefined;
  readonly source: 'option' | 'login' | 'profile' | 'environment' | 'local server' | 'default';
  /** Name of the profile it is of. */
  readonly profile?: string;
  /** Certificate authorities (PEM) to trust beside the system's. */
  readonly ca?: string;
  /** Data folder of the local server that was found, running or not. */
  readonly dataFolder: string | undefined;
}

export interface ConnectionInput {
  /** `--url`. */
  readonly url: string | undefined;
  /** `--profile`. */
  readonly profile?: string | undefined;
  readonly config?: Pick<ProfileConfig, 'current' | 'profiles'>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Root of the checkout that this program is in. */
  readonly checkout: string;
  /** Whether a process of this machine lives. */
  readonly isAlive: (pid: number) => boolean;
}

const defaultUrl = 'http://127.0.0.1:8080';
/** Of certificates, a password, a server's address. */
const maxFileBytes = 1024 * 1024;
/** For a password that comes out of a pipe: a person may have to open a safe first. */
const passwordPatienceMs = 30_000;
export const defaultUsername = 'oscar';

/** The checkout that this file is part of. */
export function checkoutFolder(): string {
  return path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../..');
}

/**
 * Finds server and credentials. The first of these that was said: `--url`, `--profile`, `SLUICE_PROFILE`, `SLUICE_URL`, `SLUICE_DATA`, the
 * current profile; else the local server, else the default address. A profile's password is only used for its own address, and the
 * local server's only for that one's.
 * @throws CliError for a URL, a variable or a profile that can't be used
 */
export function findConnection(input: ConnectionInput): Connection {
  const { env } = input;
  const config = input.config ?? { current: undefined, profiles: new Map() };
  if (input.url !== undefined && input.profile !== undefined)
    throw usageError('--url and --profile name a server each; give one of the two');
  const said = input.url ?? nonEmpty(env['SLUICE_URL']);
  if (input.url === undefined) {
    const named = input.profile ?? nonEmpty(env['SLUICE_PROFILE']);
    const isOpen = said === undefined && nonEmpty(env['SLUICE_DATA']) === undefined;
    const profile = named ?? (isOpen ? config.current : undefined);
    if (profile !== undefined) return profileConnection(config, profile, env);
  }
  const local = findLocalServer(input);
  const running = local?.isRunning === true ? local : undefined;
  const { url, credentials: inUrl } = parseUrl(said ?? running?.url ?? defaultUrl);
  const source = input.url !== undefined ? 'option' : said !== undefined ? 'environment' : undefined;
  const isLocal = running !== undefined && sameServer(url, parseUrl(running.url).url);
  return {
    url,
    credentials: inUrl ?? credentialsOf(env) ?? (isLocal ? running.credentials : undefined),
    source: source ?? (running === undefined ? 'default' : 'local server'),
    dataFolder: local?.folder,
  };
}

/** @throws CliError `not_found` for a profile that is not known */
export function profileConnection(
  config: Pick<ProfileConfig, 'profiles'>,
  name: string,
  env: ConnectionInput['env'],
): Connection {
  const profile = config.profiles.get(name);
  if (profile === undefined) {
    const known = [...config.profiles.keys()].join(', ');
    throw notFound(
      `There is no profile "${name}".`,
      known === '' ? 'Make one with: sluice login URL --name NAME' : `There are: ${known}`,
    );
  }
  const { url, credentials } = parseUrl(profile.url);
  return {
    url,
    credentials: ownCredentials(profile) ?? credentials ?? credentialsOf(env),
    source: 'profile',
    profile: name,
    dataFolder: undefined,
    ...(profile.caFile === undefined ? {} : { ca: readCa(profile.caFile) }),
  };
}

function ownCredentials({ username, password }: Profile): Credentials | undefined {
  return password === undefined ? undefined : { username: username ?? defaultUsername, password };
}

/** @throws CliError unless the file holds certificates */
export function readCa(file: string): string {
  let text: string;
  try {
    ({ text } = readRegularFile(file, maxFileBytes));
  } catch (error) {
    throw usageError(`The certificate authority ${file} cannot be read: ${messageOf(error)}`);
  }
  try {
    void new X509Certificate(text);
  } catch {
    throw usageError(`${file} holds no certificate`, 'It has to be PEM: "-----BEGIN CERTIFICATE-----".');
  }
  return text;
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value;
}

/** @throws CliError unless the text is an http or https URL */
export function parseUrl(text: string): { readonly url: URL; readonly credentials: Credentials | undefined } {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(withScheme))
    throw usageError(`"${withoutCredentials(text)}" is not a URL`, `It has to look like ${defaultUrl}`);
  const url = new URL(withScheme);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw usageError(
      `"${url.protocol}//…" is not a URL of a server`,
      'Give one that begins with http:// or https://',
    );
  }
  const credentials =
    url.username === ''
      ? undefined
      : { username: percentDecoded(url.username), password: percentDecoded(url.password) };
  url.username = '';
  url.password = '';
  url.hash = '';
  url.search = '';
  url.pathname = url.pathname.replace(/\/+$/, '');
  return { url, credentials };
}

/** What stands before the last `@` may be a password with characters that a URL can't have, which is why it was not understood. */
function withoutCredentials(text: string): string {
  return text.replace(/^((?:[^:/@]*:\/\/)?).*@/s, '$1…@');
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const loopback = new Set(['127.0.0.1', 'localhost', '[::1]']);

function sameServer(a: URL, b: URL): boolean {
  const sameHost = a.hostname === b.hostname || (loopback.has(a.hostname) && loopback.has(b.hostname));
  return sameHost && a.protocol === b.protocol && a.port === b.port;
}

/** `SLUICE_…` before `OSCAR_…`; a pair counts only together. */
function credentialsOf(env: ConnectionInput['env']): Credentials | undefined {
  for (const prefix of ['SLUICE', 'OSCAR']) {
    const password = variable(env, `${prefix}_PASSWORD`);
    if (password === undefined) continue;
    return { username: variable(env, `${prefix}_USERNAME`) ?? defaultUsername, password };
  }
  return undefined;
}

/** A variable, or the content of the file that `NAME_FILE` names. */
function variable(env: ConnectionInput['env'], name: string): string | undefined {
  const file = nonEmpty(env[`${name}_FILE`]);
  if (file === undefined) return nonEmpty(env[name]);
  if (nonEmpty(env[name]) !== undefined)
    throw usageError(`${name} is set together with ${name}_FILE; keep one of the two`);
  try {
    return firstLine(readFileOrPipe(file, maxFileBytes, passwordPatienceMs));
  } catch (error) {
    throw usageError(`${name}_FILE cannot be read (${file}): ${messageOf(error)}`);
  }
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? '';
}

interface LocalServer {
  readonly folder: string;
  readonly url: string;
  readonly credentials: Credentials | undefined;
  readonly isRunning: boolean;
}

function findLocalServer(input: ConnectionInput): LocalServer | undefined {
  const named = nonEmpty(input.env['SLUICE_DATA']);
  if (named !== undefined) return readLocalServer(path.resolve(input.cwd, named), input, true);
  for (const folder of dataFolders(input.cwd, input.checkout)) {
    const found = readLocalServer(folder, input, false);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `data` in the current folder, in each above it, and in the checkout. */
function dataFolders(cwd: string, checkout: string): string[] {
  const folders: string[] = [];
  for (let folder = path.resolve(cwd); ; folder = path.dirname(folder)) {
    folders.push(path.join(folder, 'data'));
    if (folder === path.dirname(folder)) break;
  }
  return [...folders, path.join(checkout, 'data')];
}

/** @param isNamed the user named the folder; one that was only come across has to be this user's (or root's) own */
function readLocalServer(folder: string, input: ConnectionInput, isNamed: boolean): LocalServer | undefined {
  const file = path.join(folder, 'server.json');
  if (!isNamed && !isOwnFolder(folder)) return undefined;
  const text = readOwn(file, isNamed);
  if (text === undefined) return undefined;
  const server = parseServerFile(text);
  if (server === undefined) {
    if (isNamed) throw usageError(`${file} is damaged`, 'Start the server again: npm start');
    return undefined;
  }
  const password = readOwn(path.join(folder, 'admin-password'), isNamed);
  return {
    folder,
    url: server.url,
    credentials:
      password === undefined ? undefined : { username: server.username, password: firstLine(password) },
    isRunning: input.isAlive(server.pid),
  };
}

function readOwn(file: string, isNamed: boolean): string | undefined {
  try {
    const link = lstatSync(file);
    const { text, stats } = readRegularFile(file, maxFileBytes);
    return isNamed || (isOwn(link.uid) && isOwn(stats.uid)) ? text : undefined;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EISDIR', 'ELOOP'].includes(systemCode(error) ?? ''))
      return undefined;
    if (!isNamed) return undefined;
    throw usageError(`${file} cannot be read: ${messageOf(error)}`);
  }
}

/**
 * A folder that anybody may write to (`/tmp/data`) could lead to somebody else's server: neither a link of theirs counts nor what lies in
 * their folder.
 */
function isOwnFolder(folder: string): boolean {
  try {
    return isOwn(lstatSync(folder).uid) && isOwn(lstatSync(`${folder}/.`).uid);
  } catch {
    return false;
  }
}

function isOwn(uid: number): boolean {
  const own = process.getuid?.();
  return own === undefined || uid === own || uid === 0;
}

function parseServerFile(text: string): { url: string; pid: number; username: string } | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const url = 'url' in parsed ? parsed.url : undefined;
  const pid = 'pid' in parsed ? parsed.pid : undefined;
  const username = 'username' in parsed ? parsed.username : undefined;
  if (
    typeof url !== 'string' ||
    !URL.canParse(url) ||
    typeof pid !== 'number' ||
    !Number.isSafeInteger(pid)
  ) {
    return undefined;
  }
  return { url, pid, username: typeof username === 'string' ? username : defaultUsername };
}
