import { createHash } from 'node:crypto';
import type { Account } from '../ports.ts';

/** An account as it is kept: nothing of it is a secret but its environment. */
export interface StoredAccount {
  readonly account: Account;
  /** SHA-256 of `uuid` and of `key`, in hex. */
  readonly uuid: string;
  readonly key: string;
}

const maxAccounts = 10_000;
const maxVariables = 64;
const maxValue = 4096;
/** Faults that are said; a list of another kind of thing has one an entry. */
const maxFaults = 50;
const loginForm = /^[a-z0-9]{1,61}$/;
/** A colon separates the two. */
const tokenForm = /^[^\s:]{1,256}$/;
const variableForm = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
type Fault = (message: string) => void;

const fields: ReadonlySet<string> = new Set(['login', 'uuid', 'key', 'key_sha256', 'env', 'blocked']);

/**
 * The accounts of a list, those left out that are blocked.
 * @param reserved logins that belong to Sluice itself (the administrator's, and names with a meaning)
 * @returns all faults at once where there are some; none says a key or a value
 */
export function readAccounts(
  list: unknown,
  reserved: ReadonlySet<string>,
): { readonly accounts: readonly StoredAccount[] } | { readonly faults: readonly string[] } {
  if (!Array.isArray(list)) return { faults: ['must be a list of accounts: [{login, uuid, key}]'] };
  if (list.length > maxAccounts)
    return { faults: [`has ${list.length} accounts; at most ${maxAccounts} may be`] };
  const faults: string[] = [];
  const accounts: StoredAccount[] = [];
  const logins = new Map([...reserved].map((login) => [login, 'Sluice itself']));
  const uuids = new Map<string, string>();
  for (const [index, entry] of list.entries()) {
    const place = `[${index}]`;
    const fault: Fault = (message) => {
      faults.push(`${place}${message}`);
    };
    const read = readEntry(entry, fault);
    if (read === undefined) continue;
    noteTwice(logins, read.account.login, place, '.login: is the login of', fault);
    noteTwice(uuids, read.uuid, place, '.uuid: is the uuid of', fault);
    if (!read.blocked) accounts.push({ account: read.account, uuid: read.uuid, key: read.key });
  }
  if (faults.length === 0) return { accounts };
  const more = faults.length - maxFaults;
  return { faults: more > 0 ? [...faults.slice(0, maxFaults), `and ${more} more`] : faults };
}

function noteTwice(
  seen: Map<string, string>,
  value: string,
  place: string,
  what: string,
  fault: Fault,
): void {
  const other = seen.get(value);
  if (other === undefined) seen.set(value, place);
  else fault(`${what} ${other}, too`);
}

function readEntry(
  entry: unknown,
  fault: Fault,
): (StoredAccount & { readonly blocked: boolean }) | undefined {
  if (!isObject(entry)) {
    fault(': must be an object {login, uuid, key}');
    return undefined;
  }
  for (const name of Object.keys(entry)) {
    if (!fields.has(name)) fault(`.${name.slice(0, 64)}: is unknown; there are ${[...fields].join(', ')}`);
  }
  const { login, uuid, blocked = false } = entry;
  const isLogin = typeof login === 'string' && loginForm.test(login);
  if (!isLogin) fault('.login: must be 1 to 61 of a-z and 0-9');
  const isUuid = typeof uuid === 'string' && tokenForm.test(uuid);
  if (!isUuid) fault('.uuid: must be 1 to 256 characters without colon and space');
  if (typeof blocked !== 'boolean') fault('.blocked: must be true or false');
  const key = keyOf(entry, fault);
  const env = envOf(entry['env'], fault);
  if (!isLogin || !isUuid || key === undefined) return undefined;
  return { account: { login, admin: false, env }, uuid: sha256(uuid), key, blocked: blocked === true };
}

/** Hex of the key's SHA-256. */
function keyOf({ key, key_sha256: hash }: Record<string, unknown>, fault: Fault): string | undefined {
  if ((key === undefined) === (hash === undefined)) {
    fault(': must have either key or key_sha256');
    return undefined;
  }
  if (key !== undefined) {
    if (typeof key === 'string' && tokenForm.test(key)) return sha256(key);
    fault('.key: must be 1 to 256 characters without colon and space');
    return undefined;
  }
  if (typeof hash === 'string' && /^[0-9a-f]{64}$/i.test(hash)) return hash.toLowerCase();
  fault('.key_sha256: must be the 64 hexadecimal digits of the SHA-256 of the key');
  return undefined;
}

/** Values are trimmed, and empty ones left out, as the original reads them. */
function envOf(env: unknown, fault: Fault): Account['env'] {
  if (env === undefined || env === null) return {};
  if (!isObject(env) || Object.keys(env).length > maxVariables) {
    fault(`.env: must be an object of at most ${maxVariables} texts`);
    return {};
  }
  const read: [string, string][] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!variableForm.test(name)) fault(`.env: "${name.slice(0, 64)}" is no name of a variable`);
    else if (typeof value !== 'string' || value.length > maxValue)
      fault(`.env.${name}: must be a text of at most ${maxValue} characters`);
    else if (value.trim() !== '') read.push([name, value.trim()]);
  }
  return Object.fromEntries(read);
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
