import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '../errors/index.ts';

/** What an engine sends to a registry. */
export type RegistryLogin =
  | { readonly username: string; readonly password: string; readonly serveraddress: string }
  | { readonly identitytoken: string; readonly serveraddress: string };

/** Finds the login for a registry; undefined where there is none. */
export type RegistryLogins = (registry: string) => Promise<RegistryLogin | undefined>;

interface ConfigFile {
  readonly auths?: Readonly<
    Record<string, { readonly auth?: string; readonly identitytoken?: string } | undefined>
  >;
}

/** Names under which the login for Docker Hub is stored; the first is what `docker login` writes. */
const hubNames: ReadonlySet<string> = new Set([
  'https://index.docker.io/v1/',
  'index.docker.io',
  'docker.io',
  'https://docker.io',
  'registry-1.docker.io',
]);

/**
 * Logins as `docker login` stores them in `config.json`, read at each pull so that a new login counts at once. Credential helpers (`credsStore`,
 * `credHelpers`) are programs of a desktop and not asked.
 * @param folder what `DOCKER_CONFIG` names
 */
export function createRegistryLogins(folder: string): RegistryLogins {
  const path = join(folder, 'config.json');
  return async (registry) => {
    const auths = (await readConfig(path)).auths ?? {};
    const names = hubNames.has(registry)
      ? [...hubNames]
      : [registry, `https://${registry}`, `http://${registry}`, `https://${registry}/v1/`];
    const found = names.map((name) => auths[name]).find((one) => one !== undefined);
    if (found === undefined) return undefined;
    if (found.identitytoken) return { identitytoken: found.identitytoken, serveraddress: registry };
    const [username, ...password] = Buffer.from(found.auth ?? '', 'base64')
      .toString()
      .split(':');
    if (!username) return undefined;
    return { username, password: password.join(':'), serveraddress: registry };
  };
}

async function readConfig(path: string): Promise<ConfigFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return {};
    throw new AppError('unavailable', `The registry logins in ${path} cannot be read.`, { cause: error });
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) return parsed;
  } catch {
    // Said below, without the text: there are passwords in it.
  }
  throw new AppError('unavailable', `The registry logins in ${path} are not JSON.`);
}
