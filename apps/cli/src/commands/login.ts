import path from 'node:path';
import { addAbortSignal } from 'node:stream';
import { defaultUsername, parseUrl, readCa, type Connection } from '../api/connection.ts';
import { textIn } from '../api/wire.ts';
import { usageError } from '../cli-error.ts';
import { connectTo, type LocalContext } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { oneLine } from '../format/text.ts';
import {
  configFileOf,
  isProfileName,
  profileNameRule,
  readConfig,
  type Profile,
  type ProfileConfig,
} from '../profiles/config.ts';
import { writeConfig } from '../profiles/write.ts';
import { note, warn } from '../say.ts';
import { ask, askSecret } from './ask.ts';
import { nameOr, profileNamed } from './profile.ts';

export interface LoginOptions {
  readonly name?: string;
  readonly username?: string;
  readonly passwordStdin?: boolean;
  readonly caFile?: string;
}

/** Keeps a server and its password, once the server has accepted it. */
export async function login(
  context: LocalContext,
  address: string,
  options: LoginOptions,
): Promise<ExitCode> {
  const { url, credentials } = parseUrl(address);
  const config = await readConfig(configFileOf(context.env));
  const caFile = options.caFile === undefined ? undefined : path.resolve(context.cwd, options.caFile);
  const ca = caFile === undefined ? {} : { ca: readCa(caFile) };
  const name = profileName(config, url, options.name);
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    await warn(
      context,
      `${url.origin} is not encrypted: the password can be read on the way. Use https:// where you can.`,
    );
  }
  const username = options.username ?? credentials?.username ?? (await askUsername(context));
  const password = await passwordOf(context, options, credentials?.password);
  const connection: Connection = {
    url,
    credentials: { username, password },
    source: 'login',
    dataFolder: undefined,
    ...ca,
  };
  const info = await connectTo(context, connection, config).api.info();
  const profile: Profile = {
    url: hrefOf(url),
    username,
    password,
    ...(caFile === undefined ? {} : { caFile }),
  };
  // What another login has written while this one asked stays.
  const latest = await readConfig(config.file);
  await writeConfig({
    file: latest.file,
    current: name,
    profiles: new Map([...latest.profiles, [name, profile]]),
  });
  const version = oneLine(textIn(info, 'version') ?? '?');
  await note(
    context,
    `Logged in to ${hrefOf(url)} (version ${version}) as ${oneLine(username)}; the profile is ${name}.`,
  );
  await context.json?.document({ profile: name, url: hrefOf(url), username, version });
  return exitCodes.ok;
}

function hrefOf(url: URL): string {
  return url.href.replace(/\/$/, '');
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}

/** @throws CliError for a name that can't be, or that another server's profile has by chance */
function profileName(config: ProfileConfig, url: URL, given: string | undefined): string {
  if (given !== undefined) {
    if (!isProfileName(given)) throw usageError(`--name must be ${profileNameRule}; "${given}" is not`);
    return given;
  }
  const name = url.hostname
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replaceAll(/^[^A-Za-z0-9]+|-+$/g, '')
    .slice(0, 63);
  const other = config.profiles.get(name);
  if (!isProfileName(name))
    throw usageError(`The profile needs a name: ${profileNameRule}.`, 'Give one with --name.');
  if (other !== undefined && other.url !== hrefOf(url)) {
    throw usageError(
      `The profile "${name}" is already there, for another server.`,
      `Give --name; --name ${name} replaces it.`,
    );
  }
  return name;
}

async function askUsername(context: LocalContext): Promise<string> {
  // Where nobody can be asked it is the administrator, as with SLUICE_PASSWORD alone.
  if (!context.io.inIsTty || context.json !== undefined) return defaultUsername;
  return await ask(context, 'User name:', {
    missing: usageError('The user name is missing.', 'Give it with --username.'),
    preset: defaultUsername,
    problemOf: (text) => (text.includes(':') ? 'It must not have a colon.' : undefined),
  });
}

async function passwordOf(
  context: LocalContext,
  options: LoginOptions,
  inUrl: string | undefined,
): Promise<string> {
  const missing = usageError(
    'The password is missing.',
    'Give it with --password-stdin, or log in on a terminal.',
  );
  const given = options.passwordStdin === true ? await firstLineOf(context) : inUrl;
  const password = given ?? (await askSecret(context, 'Password:', { missing }));
  if (password === '') throw usageError('The password is empty.');
  return password;
}

const maxPasswordBytes = 64 * 1024;

async function firstLineOf(context: LocalContext): Promise<string> {
  const stdin = addAbortSignal(context.signal, context.io.stdin);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of stdin as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > maxPasswordBytes)
        throw usageError('What comes on standard input is too long for a password.');
    }
  } catch (error) {
    context.signal.throwIfAborted();
    throw error;
  }
  return Buffer.concat(chunks).toString('utf8').split(/\r?\n/, 1)[0] ?? '';
}

/** Forgets a profile. The server is not told: a password is no session. */
export async function logout(context: LocalContext, given: string | undefined): Promise<ExitCode> {
  const config = await readConfig(configFileOf(context.env));
  const name = nameOr(config, given);
  profileNamed(config, name);
  const profiles = new Map([...config.profiles].filter(([other]) => other !== name));
  const current = config.current === name ? undefined : config.current;
  await writeConfig({ file: config.file, current, profiles });
  await note(context, `Forgot the profile ${name}.`);
  await context.json?.document({ forgot: name });
  return exitCodes.ok;
}
