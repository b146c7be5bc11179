import path from 'node:path';
import { CliError } from '../cli-error.ts';
import { exitCodes } from '../exit-codes.ts';

/**
 * Where an object goes below a folder. A key never leads out of it.
 * @param name the key, or its end
 * @throws CliError for a name that is no path below a folder
 */
export function localPath(folder: string, name: string): string {
  const parts = name.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) {
    throw new CliError(exitCodes.failed, `The key "${name}" can't be a file below ${folder}.`, {
      code: 'unsafe_key',
    });
  }
  return path.join(folder, ...parts);
}
