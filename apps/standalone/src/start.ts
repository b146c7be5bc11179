import { access, constants } from 'node:fs/promises';
import { userInfo } from 'node:os';
import type { ReadFile } from '@sluice/shared/config';
import { AppError } from '@sluice/shared/errors';
import { systemClock, type Running } from '@sluice/shared/lifecycle';
import { createLogger } from '@sluice/shared/telemetry';
import pino from 'pino';
import { keepSecret, openDataFolder, writeServerFile } from './data-folder.ts';
import { firstScreen } from './first-screen.ts';
import { createStandalone } from './standalone.ts';
import { userName } from './user-name.ts';
import { readVariables, type StandaloneConfig } from './variables.ts';

export interface StartOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: ReadFile;
  readonly print: (text: string) => void;
}

/**
 * Starts the standalone server and says so in one screen.
 * @throws ConfigError, AppError: each with a sentence that says what to mend
 */
export async function startStandalone(options: StartOptions): Promise<Running> {
  const config = readVariables(options.env, options.readFile);
  if (config.DOCKER_HOST === undefined) await checkShell(config.SLUICE_SHELL);
  const folder = await openDataFolder(config.SLUICE_DATA);
  const log = createLogger({
    name: 'sluice',
    level: config.SLUICE_LOG_LEVEL,
    destination: pino.destination({ fd: 2, sync: true }),
  });
  const server = await createStandalone({ config, folder, env: options.env, clock: systemClock, log });
  try {
    const { password, newPassword } = await adminPassword(config, folder.passwordFile);
    await server.start(password);
    await writeServerFile(folder.serverFile, { url: server.url(), username: config.OSCAR_USERNAME });
    options.print(
      firstScreen({
        url: server.url(),
        buckets: server.bucketsPath ?? `on the S3 server at ${config.MINIO_ENDPOINT}`,
        username: config.OSCAR_USERNAME,
        newPassword,
        passwordFile: config.OSCAR_PASSWORD === undefined ? folder.passwordFile : 'OSCAR_PASSWORD',
        adapters: server.adapters,
        slots: server.slots(),
        cores: config.SLUICE_CPU,
        memoryBytes: config.SLUICE_MEMORY,
        user: userName(userInfo, process.getuid?.()),
        services: await server.services(),
      }),
    );
  } catch (error) {
    await server.abandon();
    throw error;
  }
  return { steps: server.steps, log, farewell: 'Sluice stopped.' };
}

async function adminPassword(
  config: StandaloneConfig,
  path: string,
): Promise<{ password: NonNullable<StandaloneConfig['OSCAR_PASSWORD']>; newPassword: string | undefined }> {
  if (config.OSCAR_PASSWORD !== undefined) return { password: config.OSCAR_PASSWORD, newPassword: undefined };
  const kept = await keepSecret(path, 18);
  return { password: kept.secret, newPassword: kept.made ? kept.secret.reveal() : undefined };
}

async function checkShell(shell: string): Promise<void> {
  try {
    await access(shell, constants.X_OK);
  } catch (error) {
    throw new AppError(
      'unavailable',
      `Scripts are run by ${shell}, which is not there or not executable. Install a POSIX shell or set SLUICE_SHELL.`,
      { cause: error },
    );
  }
}
