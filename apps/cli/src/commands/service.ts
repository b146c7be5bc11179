import { notFound } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { tableText } from '../format/table.ts';
import { oneLine, plural, shorten } from '../format/text.ts';
import { listIn, record, textIn, type JsonRecord } from '../api/wire.ts';
import { confirm } from './confirm.ts';

const maxImage = 40;

export async function listServices(context: Context): Promise<ExitCode> {
  const services = await context.api.services();
  if (context.json !== undefined) {
    await context.json.document(services);
    return exitCodes.ok;
  }
  if (services.length === 0) {
    await context.io.err('There are no services. Make one with: sluice apply FILE\n');
    return exitCodes.ok;
  }
  const rows = services.map((service) => [
    oneLine(textIn(service, 'name') ?? ''),
    oneLine(textIn(service, 'cpu') ?? ''),
    oneLine(textIn(service, 'memory') ?? ''),
    pathsOf(service, 'input'),
    pathsOf(service, 'output'),
    shorten(oneLine(textIn(service, 'image') ?? ''), maxImage),
  ]);
  const columns = ['SERVICE', 'CPU', 'MEMORY', 'INPUT', 'OUTPUT', 'IMAGE'].map((title) => ({ title }));
  await context.io.out(`${tableText(columns, rows)}\n`);
  return exitCodes.ok;
}

function pathsOf(service: JsonRecord, list: 'input' | 'output'): string {
  const paths = listIn(service[list], `"${list}"`).map(
    (item) => textIn(record(item, `an entry of "${list}"`), 'path') ?? '',
  );
  return paths.length === 0 ? '-' : oneLine(paths.join(', '));
}

export interface ShowOptions {
  readonly script?: boolean;
  readonly token?: boolean;
}

export async function showService(context: Context, name: string, options: ShowOptions): Promise<ExitCode> {
  const service = await serviceNamed(context, name);
  if (options.script === true || options.token === true) {
    const value = textIn(service, options.token === true ? 'token' : 'script') ?? '';
    if (context.json === undefined) await context.io.out(value.endsWith('\n') ? value : `${value}\n`);
    else await context.json.document(options.token === true ? { token: value } : { script: value });
    return exitCodes.ok;
  }
  if (context.json !== undefined) {
    await context.json.document(service);
    return exitCodes.ok;
  }
  const fields = shownFields(service);
  const width = Math.max(...fields.map(([path]) => path.length));
  await context.io.out(
    fields.map(([path, value]) => `${context.colors.dim(path.padEnd(width))}  ${value}\n`).join(''),
  );
  return exitCodes.ok;
}

export async function serviceNamed(context: Context, name: string): Promise<JsonRecord> {
  const service = await context.api.service(name);
  if (service === undefined) {
    throw notFound(
      `There is no service "${oneLine(name)}".`,
      'sluice service list shows those that there are.',
    );
  }
  return service;
}

/** Fields that say something, one line each; the script and the token, which are secret or long, only by name. */
function shownFields(service: JsonRecord): [string, string][] {
  const fields: [string, string][] = [];
  const add = (path: string, value: unknown): void => {
    if (value === undefined || value === null || value === '' || value === false) return;
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) add(`${path}[${index}]`, item);
    } else if (typeof value === 'object') {
      for (const [key, item] of Object.entries(value)) add(path === '' ? key : `${path}.${key}`, item);
    } else {
      fields.push([oneLine(path), oneLine(typeof value === 'string' ? value : JSON.stringify(value))]);
    }
  };
  const { script, token, environment, ...rest } = service;
  add('', rest);
  const { variables, secrets } = record(environment ?? {}, '"environment"');
  add('environment.variables', variables);
  for (const key of Object.keys(record(secrets ?? {}, '"secrets"')))
    fields.push([`environment.secrets.${oneLine(key)}`, '(secret)']);
  if (typeof script === 'string')
    fields.push([
      'script',
      `${plural(script.replace(/\n$/, '').split('\n').length, 'line')} (--script prints it)`,
    ]);
  if (typeof token === 'string' && token !== '') fields.push(['token', '(--token prints it)']);
  return fields;
}

/** Starts, stops or restarts what answers calls of services; files and submitted runs go on in any case. */
export async function turnServices(
  context: Context,
  names: readonly string[],
  action: 'start' | 'stop' | 'restart',
): Promise<ExitCode> {
  for (const name of names) await serviceNamed(context, name);
  const states: JsonRecord[] = [];
  for (const name of names) {
    const state = await context.api.turnService(name, action);
    states.push(state);
    if (context.json !== undefined) continue;
    const word = oneLine(textIn(state, 'state') ?? 'unknown');
    const reason = oneLine(textIn(state, 'reason') ?? '');
    await context.io.out(`${oneLine(name)}  ${word}${reason === '' ? '' : `  ${reason}`}\n`);
  }
  await context.json?.document({ services: states });
  return exitCodes.ok;
}

export interface DeleteOptions {
  readonly yes?: boolean;
  readonly keepBuckets?: boolean;
}

/** Deletes services, with their waiting runs and (unless they are to be kept) their buckets. */
export async function deleteServices(
  context: Context,
  names: readonly string[],
  options: DeleteOptions,
): Promise<ExitCode> {
  const keep = options.keepBuckets === true;
  const services: JsonRecord[] = [];
  for (const name of names) services.push(await serviceNamed(context, name));
  const buckets = [...new Set(services.flatMap(bucketsOf))];
  const what = `Delete ${names.map((name) => `"${oneLine(name)}"`).join(', ')}, waiting runs included`;
  const lost =
    keep || buckets.length === 0 ? '' : `, and the buckets ${buckets.join(', ')} with all that is in them`;
  await confirm(context, `${what}${lost}?`, options.yes === true);
  for (const name of names) {
    await context.api.deleteService(name, keep);
    if (context.json === undefined) await context.io.err(`deleted ${oneLine(name)}\n`);
  }
  await context.json?.document({ deleted: names });
  return exitCodes.ok;
}

function bucketsOf(service: JsonRecord): string[] {
  return ['input', 'output'].flatMap((list) =>
    listIn(service[list], `"${list}"`).flatMap((item) => {
      const io = record(item, `an entry of "${list}"`);
      const isOurs = /^minio(\.default)?$/i.test(textIn(io, 'storage_provider') ?? '');
      const bucket = (textIn(io, 'path') ?? '').split('/', 1)[0] ?? '';
      return isOurs && bucket !== '' ? [oneLine(bucket)] : [];
    }),
  );
}
