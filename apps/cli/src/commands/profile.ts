import { notFound } from '../cli-error.ts';
import type { LocalContext } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { tableText } from '../format/table.ts';
import { oneLine } from '../format/text.ts';
import { configFileOf, readConfig, type Profile, type ProfileConfig } from '../profiles/config.ts';
import { writeConfig } from '../profiles/write.ts';
import { note } from '../say.ts';

export async function listProfiles(context: LocalContext): Promise<ExitCode> {
  const config = await readConfig(configFileOf(context.env));
  const profiles = [...config.profiles];
  if (context.json !== undefined) {
    const documents = profiles.map(([name, profile]) => documentOf(config, name, profile));
    await context.json.document({ profiles: documents });
  } else if (profiles.length === 0) {
    await note(context, 'There are no profiles. Make one with: sluice login URL');
  } else {
    const columns = ['', 'PROFILE', 'SERVER', 'USER'].map((title) => ({ title }));
    const rows = profiles.map(([name, { url, username }]) => [
      name === config.current ? '*' : ' ',
      name,
      oneLine(withoutPassword(url)),
      oneLine(username ?? '-'),
    ]);
    await context.io.out(`${tableText(columns, rows)}\n`);
  }
  return exitCodes.ok;
}

export async function useProfile(context: LocalContext, name: string): Promise<ExitCode> {
  const config = await readConfig(configFileOf(context.env));
  profileNamed(config, name);
  await writeConfig({ ...config, current: name });
  await note(context, `The current profile is ${name}.`);
  await context.json?.document({ current: name });
  return exitCodes.ok;
}

export async function showProfile(context: LocalContext, given: string | undefined): Promise<ExitCode> {
  const config = await readConfig(configFileOf(context.env));
  const name = nameOr(config, given);
  const document = documentOf(config, name, profileNamed(config, name));
  if (context.json !== undefined) {
    await context.json.document(document);
    return exitCodes.ok;
  }
  const rows = Object.entries(document).map(
    ([key, value]) => [key.replace('_', ' '), oneLine(String(value))] as const,
  );
  const width = Math.max(...rows.map(([key]) => key.length));
  await context.io.out(
    rows.map(([key, value]) => `${context.colors.dim(key.padEnd(width))}  ${value}\n`).join(''),
  );
  return exitCodes.ok;
}

/** The profile that was named, else the current one. @throws CliError where neither is */
export function nameOr(config: ProfileConfig, given: string | undefined): string {
  const name = given ?? config.current;
  if (name !== undefined) return name;
  throw notFound('There is no current profile.', 'Name one; "sluice profile list" has them.');
}

/** @throws CliError `not_found` */
export function profileNamed(config: ProfileConfig, name: string): Profile {
  const profile = config.profiles.get(name);
  if (profile !== undefined) return profile;
  throw notFound(`There is no profile "${name}".`, '"sluice profile list" has them.');
}

/** No secrets. */
function documentOf(config: ProfileConfig, name: string, profile: Profile): Record<string, string | boolean> {
  const { url, username, password, caFile } = profile;
  return {
    profile: name,
    current: name === config.current,
    url: withoutPassword(url),
    ...(username === undefined ? {} : { username }),
    has_password: password !== undefined,
    ...(caFile === undefined ? {} : { ca_file: caFile }),
  };
}

/** A file that was written by hand may have one in its URL. */
function withoutPassword(text: string): string {
  if (!URL.canParse(text)) return text.replace(/\/\/[^/@]*@/, '//');
  const url = new URL(text);
  url.username = '';
  url.password = '';
  return url.href.replace(/\/$/, '');
}
