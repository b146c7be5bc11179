import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createSecretBox, masterKeyOf, type SecretBox } from '@sluice/shared/adapters';
import { AppError, messageOf } from '@sluice/shared/errors';
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
      `${path} does not hold the key that was made there. Put it back from a copy; without one, move the file away and apply the services again.`,
    );
  }
  return createSecretBox({ keys: [masterKeyOf(bytes)], random: randomBytes });
}

/** What an earlier version stored in clear is encrypted now. A key that is missing keeps only its services from working. */
export async function encryptOldSecrets(
  definitions: { reencrypt(): Promise<number> },
  log: Logger,
): Promise<void> {
  try {
    const services = await definitions.reencrypt();
    if (services > 0) log.info({ services }, 'secrets in the database encrypted');
  } catch (error) {
    log.error(
      { err: messageOf(error) },
      'secrets of some services cannot be read: put the file secrets-key back from a copy, or apply those services again',
    );
  }
}
