import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createSecretBox, masterKeyOf, type SecretBox } from '@sluice/shared/adapters';
import { AppError, isAppError } from '@sluice/shared/errors';
import type { Logger } from '@sluice/shared/telemetry';
import { keepSecret, type DataFolder } from '../data-folder.ts';

const keyBytes = 32;

/**
 * Encrypts the secrets of services in the database with the key of the data folder, made at the first start.
 * @throws AppError `conflict` when the file holds something else
 */
export async function openSecretBox(folder: DataFolder): Promise<SecretBox> {
  const path = join(folder.root, 'secrets-key');
  const bytes = Buffer.from((await keepSecret(path, keyBytes)).secret.reveal(), 'base64url');
  if (bytes.length !== keyBytes) {
    throw new AppError(
      'conflict',
      `${path} does not hold the key that was made there. Put it back from a copy; docs/operation.md says how to go on without one.`,
    );
  }
  return createSecretBox({ keys: [masterKeyOf(bytes)], random: randomBytes });
}

/**
 * Encrypts what an earlier version stored in clear.
 * @throws AppError `conflict` when the secrets that are there want another key: going on would mix two keys in one database
 */
export async function encryptOldSecrets(
  definitions: { reencrypt(): Promise<number> },
  folder: DataFolder,
  log: Logger,
): Promise<void> {
  try {
    const versions = await definitions.reencrypt();
    if (versions > 0) log.info({ versions }, 'secrets in the database encrypted');
  } catch (error) {
    const keyId = isAppError(error, 'unavailable') ? error.details['keyId'] : undefined;
    if (typeof keyId !== 'string') throw error;
    throw new AppError(
      'conflict',
      `The secrets of services in the database were encrypted with another key ("${keyId}") than ${join(folder.root, 'secrets-key')} holds. ` +
        'Put that file back from a copy. Without one they are lost; docs/operation.md says how to go on.',
      { cause: error },
    );
  }
}
