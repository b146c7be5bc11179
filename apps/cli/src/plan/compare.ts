import { trimPath, type Json, type JsonObject } from '../fdl/decode.ts';

/** One field that differs. Absent `from`: the server has none; absent `to`: the file states none. */
export interface Change {
  readonly path: string;
  readonly from?: string;
  readonly to?: string;
  /** Its values are secret. */
  readonly hidden: boolean;
}

/** An image that is to be built for a service. */
export interface PlannedBuild {
  readonly kind: string;
  readonly file: string;
  /** `user:tag` */
  readonly target: string;
  /** The image is there; only whether the one that it begins with has changed is asked. */
  readonly isCheck: boolean;
}

export interface ServicePlan {
  readonly service: string;
  readonly action: 'create' | 'update' | 'unchanged';
  readonly changes: readonly Change[];
  /** The file states secrets: the server never gives them back, so they can't be compared and are always sent. */
  readonly sendsSecrets: boolean;
  /** Absent: its image is there, or it names one. */
  readonly build?: PlannedBuild;
}

interface Leaf {
  readonly value: string;
  readonly hidden: boolean;
  /** The same as if it were not there. */
  readonly isDefault: boolean;
}

/** What the server sets or keeps to itself (OSCAR §2.1, §2.3); `script` is compared apart. */
const ignored = new Set([
  'token',
  'owner',
  'namespace',
  'volume_status',
  'deployment',
  'bucket_list',
  'script',
]);
/** Parts that servers complete or blank: only what the file states is compared. */
const statedOnly = new Set([
  'clusters',
  'storage_providers',
  'kserve',
  'federation',
  'volume',
  'expose',
  'vo',
]);
/** What a stop or a restart of the service left; it stays unless the file states it (OSCAR §1.6). */
const kept = new Set([
  'annotations["oscar.grycap.io/stopped"]',
  'annotations["oscar.grycap.io/restarted-at"]',
]);
const serverLabels = new Set([
  'oscar.grycap/user-service',
  'oscar_service',
  'applicationId',
  'queue',
  'owner_name',
  'uid',
  'vo',
  'kueue.x-k8s.io/queue-name',
]);
/** OSCAR §2.3. A field that says its default, and one that is not there, are the same. */
const defaults: Readonly<Record<string, string>> = {
  memory: '256Mi',
  cpu: '0.2',
  log_level: 'INFO',
  visibility: 'private',
  'federation.topology': 'none',
};
const logLevels = new Set(['NOTSET', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']);
const secretNames = new Set([
  'access_key',
  'secret_key',
  'password',
  'auth_password',
  'token',
  'refresh_token',
]);

/**
 * What applying a definition would change. What the server sets by itself, and defaults, are no differences.
 * @param wanted the definition of the file
 * @param actual the server's, undefined when it has none
 */
export function compareService(wanted: JsonObject, actual: JsonObject | undefined): ServicePlan {
  const service = textOf(wanted['name']);
  const wantedLeaves = flatten(wanted, service);
  const sendsSecrets = [...wantedLeaves.keys()].some(isSecret);
  if (actual === undefined) return { service, action: 'create', changes: [], sendsSecrets };
  const actualLeaves = flatten(actual, service);
  const changes = [...scriptChange(wanted, actual), ...leafChanges(wantedLeaves, actualLeaves)];
  return { service, action: changes.length === 0 ? 'unchanged' : 'update', changes, sendsSecrets };
}

function leafChanges(wanted: ReadonlyMap<string, Leaf>, actual: ReadonlyMap<string, Leaf>): Change[] {
  const changes: Change[] = [];
  for (const [path, to] of wanted) {
    const from = actual.get(path);
    if (effective(from) === effective(to) || (to.hidden && isBlanked(path, from))) continue;
    changes.push(changeOf(path, from, to));
  }
  for (const [path, from] of actual) {
    if (wanted.has(path) || from.isDefault || statedOnly.has(firstStep(path)) || kept.has(path)) continue;
    changes.push(changeOf(path, from, undefined));
  }
  return changes;
}

function effective(leaf: Leaf | undefined): string | undefined {
  return leaf === undefined || leaf.isDefault ? undefined : leaf.value;
}

function isSecret(path: string): boolean {
  return /^environment\.secrets[.[]/.test(path);
}

/** A key or password that the server does not give back says nothing about whether it differs. */
function isBlanked(path: string, from: Leaf | undefined): boolean {
  if (isSecret(path)) return false;
  return from === undefined || from.isDefault || from.value === 'hidden';
}

function changeOf(path: string, from: Leaf | undefined, to: Leaf | undefined): Change {
  const hidden = from?.hidden === true || to?.hidden === true;
  const shown = (leaf: Leaf | undefined): string | undefined => leaf?.value ?? defaults[path];
  const before = shown(from);
  const after = shown(to);
  return {
    path,
    hidden,
    ...(before === undefined || hidden ? {} : { from: before }),
    ...(after === undefined || hidden ? {} : { to: after }),
  };
}

function scriptChange(wanted: JsonObject, actual: JsonObject): Change[] {
  const to = normalScript(wanted['script']);
  const from = normalScript(actual['script']);
  return from === to ? [] : [{ path: 'script', from: lineCount(from), to: lineCount(to), hidden: false }];
}

function normalScript(script: Json | undefined): string {
  return typeof script === 'string' ? script.replaceAll(/\r\n?/g, '\n') : '';
}

function lineCount(script: string): string {
  const count = script === '' ? 0 : script.replace(/\n$/, '').split('\n').length;
  return count === 1 ? '1 line' : `${count} lines`;
}

function firstStep(path: string): string {
  return /^[^.[]+/.exec(path)?.[0] ?? path;
}

/** Every stated field by its path, in the form that the server stores; defaults and empty values left out. */
function flatten(document: JsonObject, service: string): Map<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  for (const [key, value] of Object.entries(document)) {
    if (ignored.has(key) || value === undefined) continue;
    if (key === 'input' || key === 'output') addStorage(leaves, key, value, service);
    else add(leaves, key, normalTop(key, value));
  }
  return leaves;
}

function normalTop(key: string, value: Json): Json {
  if (key === 'log_level' && typeof value === 'string') {
    const level = value.toUpperCase();
    return logLevels.has(level) ? level : 'INFO';
  }
  if (key === 'isolation_level')
    return typeof value === 'string' && value.toUpperCase() === 'USER' ? 'USER' : '';
  if (key === 'allowed_users' && isList(value))
    return value.map((user) => textOf(user).trim()).filter(Boolean);
  if (key === 'labels' && isObject(value)) {
    return Object.fromEntries(Object.entries(value).filter(([name]) => !serverLabels.has(name)));
  }
  if (key === 'mount' && isObject(value)) return value['path'] === '' ? '' : storageText(value, undefined);
  return value;
}

function add(leaves: Map<string, Leaf>, path: string, value: Json | undefined): void {
  if (value === undefined || value === null || path === 'storage_providers.minio.default') return;
  if (isList(value)) {
    addList(leaves, path, value);
  } else if (isObject(value)) {
    for (const [key, item] of Object.entries(value)) add(leaves, step(path, key), item);
  } else {
    addScalar(leaves, path, value);
  }
}

function addList(leaves: Map<string, Leaf>, path: string, list: readonly Json[]): void {
  if (list.some((item) => typeof item === 'object' && item !== null)) {
    for (const [index, item] of list.entries()) add(leaves, `${path}[${index}]`, item);
    return;
  }
  // Port 0 is "none" (OSCAR §2.2).
  const isDefault = list.every((item) => item === 0);
  leaves.set(path, { value: list.map(textOf).join(', '), hidden: false, isDefault });
}

function addScalar(leaves: Map<string, Leaf>, path: string, value: string | number | boolean): void {
  const text = String(value);
  if (isSecret(path)) {
    leaves.set(path, { value: '', hidden: true, isDefault: false });
    return;
  }
  const isZero = value === '' || value === false || value === 0;
  // An empty variable or label is one; under `sluice` a stated 0 differs from the default.
  const zeroCounts = /^(environment|labels|annotations|sluice)\b/.test(path);
  const isDefault = (isZero && !zeroCounts) || text === defaults[path];
  leaves.set(path, { value: text, hidden: secretNames.has(path.split('.').at(-1) ?? ''), isDefault });
}

function addStorage(leaves: Map<string, Leaf>, path: string, value: Json, service: string): void {
  if (!isList(value)) return;
  for (const [index, item] of value.entries()) {
    if (isObject(item))
      leaves.set(`${path}[${index}]`, {
        value: storageText(item, service),
        hidden: false,
        isDefault: false,
      });
  }
}

/** `minio.default:bucket/folder suffix .png, .jpg`, provider and path as the server stores them (OSCAR §1.2 step 3). */
function storageText(storage: JsonObject, service: string | undefined): string {
  const provider = providerName(textOf(storage['storage_provider']));
  const trimmed = trimPath(textOf(storage['path']));
  const isObjectStore = /^(minio|s3)\./.test(provider);
  const path =
    service !== undefined && isObjectStore && !trimmed.includes('/') ? `${service}/${trimmed}` : trimmed;
  const lists = ['prefix', 'suffix'].flatMap((name) => {
    const list = storage[name];
    return isList(list) && list.length > 0 ? [` ${name} ${list.map(textOf).join(', ')}`] : [];
  });
  const options = storage['options'];
  return `${provider}:${path}${lists.join('')}${typeof options === 'string' && options !== '' ? ` options ${options}` : ''}`;
}

/** `name[.id]`, cut at the first dot; the name in lower case, the id `default` unless given (OSCAR §1.2). */
function providerName(provider: string): string {
  const dot = provider.indexOf('.');
  const name = (dot === -1 ? provider : provider.slice(0, dot)).toLowerCase();
  return `${name}.${dot === -1 ? 'default' : provider.slice(dot + 1)}`;
}

function step(path: string, key: string): string {
  return /^[\w/-]+$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

function textOf(value: Json | undefined): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
