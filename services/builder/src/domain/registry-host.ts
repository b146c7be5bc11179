import { parseImagePrefix } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';

/**
 * The registry that an account's `REGISTRY_HOST` names, where it has one (builder §2.3).
 * @returns undefined where there is none
 * @throws AppError `invalid_input` for what is no host: it becomes part of references (builder §5.1, S2)
 */
export function ownRegistryHost(env: Readonly<Record<string, string>>): string | undefined {
  const text = (env['REGISTRY_HOST'] ?? '').trim();
  if (text === '') return undefined;
  const parsed = parseImagePrefix(text);
  if (parsed === undefined || parsed.repository.length > 0 || /[^\w.:[\]-]/.test(text)) {
    throw new AppError(
      'invalid_input',
      'REGISTRY_HOST of this account is not a host with or without a port, such as registry.example.org:5000.',
      { field: 'REGISTRY_HOST' },
    );
  }
  return parsed.registry;
}

/**
 * The login in an account's `REGISTRY_SECRET`: `name:password`, the first colon parts them.
 * @throws AppError `invalid_input`: names of Kubernetes secrets, which the original takes, would open secrets of others (builder §5.1, S8)
 */
export function ownRegistryLogin(
  env: Readonly<Record<string, string>>,
): { readonly username: string; readonly password: string } | undefined {
  const text = (env['REGISTRY_SECRET'] ?? '').trim();
  if (text === '') return undefined;
  const colon = text.indexOf(':');
  if (colon < 1 || colon === text.length - 1) {
    throw new AppError(
      'invalid_input',
      'REGISTRY_SECRET of this account is not a name and a password with a colon between them.',
      { field: 'REGISTRY_SECRET' },
    );
  }
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
