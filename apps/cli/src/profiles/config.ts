import path from 'node:path';
import { messageOf, systemCode, usageError } from '../cli-error.ts';
import { readRegularFile } from '../files/small-file.ts';

/** A server that was logged in to. */
export interface Profile {
  readonly url: string;
  readonly username?: string;
  readonly password?: string;
  /** File with the certificate authority to trust beside the system's. */
  readonly caFile?: string;
}

/** The client's own file. */
export interface ProfileConfig {
  /** Undefined where there is no place for it (neither XDG_CONFIG_HOME nor HOME). */
  readonly file: string | undefined;
  /** Profile that is used where nothing else was said. */
  readonly current: string | undefined;
  readonly profiles: ReadonlyMap<string, Profile>;
  /** Others than its owner may read it, and it holds a password. */
  readonly isExposed: boolean;
}

export const profileNameRule =
  '1 to 63 letters, digits, dots, hyphens and underscores, a letter or digit first';

export function isProfileName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name);
}

/** `$XDG_CONFIG_HOME/sluice/config.yaml`, else `~/.config/sluice/config.yaml`. A folder that is not absolute does not count, as XDG has it. */
export function configFileOf(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const { XDG_CONFIG_HOME: xdg, HOME: home } = env;
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, 'sluice', 'config.yaml');
  return home === undefined || home === '' ? undefined : path.join(home, '.config', 'sluice', 'config.yaml');
}

const maxBytes = 1024 * 1024;

/** @throws CliError for a file that is there and can't be used */
export async function readConfig(file: string | undefined): Promise<ProfileConfig> {
  const found = file === undefined ? undefined : readFile(file);
  if (found === undefined) return { file, current: undefined, profiles: new Map(), isExposed: false };
  // Loaded only where there is something to read: most calls should not wait for it.
  const { parse } = await import('yaml');
  const fault = (what: string): Error =>
    usageError(`${file} is damaged: ${what}`, 'Mend it, or move it away and log in again: sluice login URL');
  let content: unknown;
  try {
    content = parse(found.text, { logLevel: 'error' });
  } catch (error) {
    throw fault(messageOf(error).split('\n', 1)[0] ?? '');
  }
  const config = parseConfig(content, fault);
  const holdsPassword = [...config.profiles.values()].some(({ password }) => password !== undefined);
  return { file, ...config, isExposed: holdsPassword && found.isOpen };
}

function readFile(file: string): { readonly text: string; readonly isOpen: boolean } | undefined {
  try {
    const { text, stats } = readRegularFile(file, maxBytes);
    const isOpen = process.platform !== 'win32' && (stats.mode & 0o077) !== 0;
    return { text, isOpen };
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw usageError(`The configuration ${file} cannot be read: ${messageOf(error)}`);
  }
}

type Fault = (what: string) => Error;

function parseConfig(content: unknown, fault: Fault): Pick<ProfileConfig, 'current' | 'profiles'> {
  if (content === null || content === undefined) return { current: undefined, profiles: new Map() };
  const top = mapOf(content, 'the file', fault);
  const entries = Object.entries(mapOf(top['profiles'] ?? {}, 'profiles', fault));
  const profiles = new Map(entries.map(([name, value]) => [name, parseProfile(name, value, fault)]));
  const current = textOf(top, 'current', 'current', fault);
  return { current, profiles };
}

function parseProfile(name: string, value: unknown, fault: Fault): Profile {
  const at = `profiles.${name}`;
  if (!isProfileName(name)) throw fault(`the name "${name}" has to be ${profileNameRule}`);
  const source = mapOf(value, at, fault);
  const url = textOf(source, 'url', at, fault);
  if (url === undefined) throw fault(`${at}.url is missing`);
  const username = textOf(source, 'username', at, fault);
  const password = textOf(source, 'password', at, fault);
  const caFile = textOf(source, 'ca_file', at, fault);
  return {
    url,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(caFile === undefined ? {} : { caFile }),
  };
}

function mapOf(value: unknown, at: string, fault: Fault): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fault(`${at} is not a map`);
  return value as Record<string, unknown>;
}

function textOf(source: Record<string, unknown>, key: string, at: string, fault: Fault): string | undefined {
  const value = source[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string' || value === '')
    throw fault(`${at === key ? key : `${at}.${key}`} is not text`);
  return value;
}
