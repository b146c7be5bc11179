import { AppError } from '@sluice/shared/errors';
import { readWskAuthorization } from '../domain/wsk-authorization.ts';
import type { Account, Accounts } from '../ports.ts';
import type { Authenticate } from './authenticate.ts';

/** The account behind an `Authorization` header of the builder's routes; undefined where the header does not prove one. */
export type AccountLogin = (header: string) => Promise<Account | undefined>;

/** Sluice's own account is the administrator, in every spelling that the others have; all others are those of the port. */
export function createAccountLogin(deps: {
  readonly authenticate: Authenticate;
  readonly adminUser: string;
  readonly accounts: Accounts;
}): AccountLogin {
  const { authenticate, accounts } = deps;
  const login = deps.adminUser.toLowerCase();
  const admin: Account = { login, admin: true, env: {} };
  const asAdmin = (header: string): Account | undefined => {
    if (authenticate(header, ['basic']) === undefined) return undefined;
    if (/^[a-z0-9]{1,61}$/.test(login)) return admin;
    throw new AppError(
      'forbidden',
      `"${login}" (OSCAR_USERNAME) cannot be the name of a repository of images: that is 1 to 61 of a-z and 0-9. Use an account of SLUICE_ACCOUNTS_FILE.`,
    );
  };
  return async (header) => {
    // As it is first: the administrator's password may have colons and percent signs.
    const own = asAdmin(header);
    if (own !== undefined) return own;
    const pair = readWskAuthorization(header);
    if (pair === undefined) return undefined;
    const basic = `Basic ${Buffer.from(`${pair.uuid}:${pair.key}`).toString('base64')}`;
    return asAdmin(basic) ?? (await accounts.find(pair.uuid, pair.key));
  };
}
