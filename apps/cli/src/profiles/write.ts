import { mkdir, open, realpath, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';
import { CliError, messageOf, usageError } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ProfileConfig } from './config.ts';

/** Replaces the file as a whole: readable for its owner only, and never half written. */
export async function writeConfig(
  config: Pick<ProfileConfig, 'file' | 'current' | 'profiles'>,
): Promise<void> {
  const { file } = config;
  if (file === undefined) {
    throw usageError('There is no place for the configuration.', 'Set HOME or XDG_CONFIG_HOME.');
  }
  try {
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    // A link (people keep their configurations elsewhere) stays one.
    const target = await realpath(file).catch(() => file);
    await replace(target, textOf(config));
  } catch (error) {
    throw new CliError(exitCodes.failed, `${file} cannot be written: ${messageOf(error)}.`, { cause: error });
  }
}

function textOf({ current, profiles }: Pick<ProfileConfig, 'current' | 'profiles'>): string {
  const entries = [...profiles].map(([name, { url, username, password, caFile }]) => [
    name,
    { url, username, password, ca_file: caFile },
  ]);
  const head = '# Written by "sluice login". It holds passwords: keep it to yourself.\n';
  return head + stringify({ current, profiles: Object.fromEntries(entries) }, { keepUndefined: false });
}

async function replace(target: string, text: string): Promise<void> {
  const part = `${target}.${process.pid}.part`;
  try {
    const handle = await open(part, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(part, target);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}
