import { timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { ConfigError, type Secret } from '@sluice/shared/config';
import { messageOf } from '@sluice/shared/errors';
import type { Logger } from '@sluice/shared/telemetry';
import { readAccounts, sha256, type StoredAccount } from '../domain/account-list.ts';
import type { Account, Accounts } from '../ports.ts';

const maxBytes = 4_194_304;
/** Compared with where there is no such account: a refusal takes as long either way. */
const nobody = sha256('');

export interface FileAccountsDeps {
  /** A file (YAML, and so JSON as well), a text, or none: there are no accounts then but the administrator's. */
  readonly source: { readonly path: string } | { readonly text: Secret } | undefined;
  /** Logins of the administrator. */
  readonly reserved: ReadonlySet<string>;
  readonly log: Logger;
}

export interface FileAccounts extends Accounts {
  /** What the environment of a login holds now; empty where there is none. For the workers of builds. */
  environmentOf(login: string): Promise<Account['env']>;
  /** All of them. */
  logins(): Promise<readonly string[]>;
}

/**
 * Accounts of a list in a file, which is read anew when it has changed: a list that is faulty then is logged, and the one before
 * counts until it is mended.
 * @throws ConfigError with all faults of the list that is there now
 */
export async function createFileAccounts(deps: FileAccountsDeps): Promise<FileAccounts> {
  const { source } = deps;
  if (source === undefined) return accountsOf(async () => new Map());
  if ('text' in source) {
    const known = byUuid(await listOf(source.text.reveal(), deps), 'SLUICE_ACCOUNTS');
    return accountsOf(async () => known);
  }
  const { path } = source;
  let version = await versionOf(path);
  let known = byUuid(await readList(path, deps), 'SLUICE_ACCOUNTS_FILE');
  const refresh = async (): Promise<void> => {
    // Noted before the text is read: what is written meanwhile is seen at the next look.
    const now = await versionOf(path);
    if (now === version) return;
    const list = await readList(path, deps);
    // What cannot be read is tried again at the next login; what is faulty is said once a change.
    version = 'unread' in list ? '' : now;
    if ('faults' in list) {
      deps.log.error(
        { faults: list.faults },
        'the changed list of accounts is not used: the one before counts',
      );
      return;
    }
    known = byUuid(list, 'SLUICE_ACCOUNTS_FILE');
    deps.log.info({ accounts: known.size }, 'read the changed list of accounts');
  };
  let reading: Promise<void> | undefined;
  return accountsOf(async () => {
    reading ??= refresh().finally(() => {
      reading = undefined;
    });
    await reading;
    return known;
  });
}

function accountsOf(current: () => Promise<Known>): FileAccounts {
  return {
    find: async (uuid, key) => match(await current(), uuid, key),
    environmentOf: async (login) => {
      const found = [...(await current()).values()].find(({ account }) => account.login === login);
      return found?.account.env ?? {};
    },
    logins: async () => [...(await current()).values()].map(({ account }) => account.login),
  };
}

type List = ReturnType<typeof readAccounts>;
type Known = ReadonlyMap<string, StoredAccount>;

async function readList(path: string, deps: FileAccountsDeps): Promise<List & { readonly unread?: true }> {
  try {
    return await listOf(await readFile(path, 'utf8'), deps);
  } catch (error) {
    return { faults: [`cannot be read: ${messageOf(error)}`], unread: true };
  }
}

/** Changes with the file, be it written or replaced by another (as Kubernetes does it). */
async function versionOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true });
    return `${ino}.${size}.${mtimeNs}`;
  } catch (error) {
    return `none: ${messageOf(error)}`;
  }
}

async function listOf(text: string, { reserved }: FileAccountsDeps): Promise<List> {
  if (Buffer.byteLength(text) > maxBytes) return { faults: [`is larger than ${maxBytes} bytes`] };
  const { parse } = await import('yaml');
  let list: unknown;
  try {
    // Aliases are not for lists of accounts, and can make a small text very large.
    list = parse(text, { maxAliasCount: 0, prettyErrors: false, logLevel: 'error' });
  } catch (error) {
    const at =
      error instanceof Error && 'pos' in error && Array.isArray(error.pos) ? String(error.pos[0]) : '';
    // Not the parser's own words, which may quote a key.
    return { faults: [`is not valid YAML or JSON${at === '' ? '' : ` (at character ${at})`}`] };
  }
  return readAccounts(list, reserved);
}

function byUuid(list: List, variable: string): Known {
  if ('faults' in list) throw new ConfigError(list.faults.map((message) => ({ variable, message })));
  return new Map(list.accounts.map((account) => [account.uuid, account]));
}

/** By hashes: how long it takes tells nothing of a key. */
function match(known: Known, uuid: string, key: string): Account | undefined {
  const found = known.get(sha256(uuid));
  const isKey = timingSafeEqual(Buffer.from(sha256(key)), Buffer.from(found?.key ?? nobody));
  return isKey ? found?.account : undefined;
}
