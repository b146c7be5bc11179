import { lookup } from 'node:dns/promises';
import { connect as connectSocket, isIP } from 'node:net';
import { numberIn, record, textIn, type JsonRecord } from '../api/wire.ts';
import { CliError, messageOf } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { durationText } from '../format/quantity.ts';
import { oneLine, plural } from '../format/text.ts';
import { clientVersion } from '../version.ts';
import { failure, ok, warning, type Check } from './check.ts';
import { deploymentChecks } from './deployment.ts';

/** A failure of the client is a failed check, with the same advice. */
export function failed(check: string, error: unknown): Check {
  if (!(error instanceof CliError)) return failure(check, messageOf(error), 'Look at the server’s log.');
  return failure(check, error.message, error.hint ?? 'Look at the server’s log.');
}

/** Name, connection, clock: what needs no login. */
export async function connectionChecks(context: Context): Promise<readonly Check[]> {
  const { url } = context.connection;
  const checks: Check[] = [];
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) === 0) {
    try {
      const addresses = await lookup(host, { all: true });
      checks.push(ok('name', `${host} is ${addresses.map(({ address }) => address).join(', ')}`));
    } catch (error) {
      const mend = 'Check the spelling of the server’s name, and the network’s DNS.';
      return [failure('name', `${host} has no address (${messageOf(error)})`, mend)];
    }
  }
  try {
    const asked = context.now();
    const reply = await context.api.health();
    checks.push(
      ok('connection', url.protocol === 'https:' ? 'answers, by a certificate that is trusted' : 'answers'),
    );
    const clock = clockCheck(reply.header('date'), asked, context.now());
    return clock === undefined ? checks : [...checks, clock];
  } catch (error) {
    return [...checks, failed('connection', error)];
  }
}

const skewMs = 30_000;

/** The header is in whole seconds, and of some moment between question and answer. */
export function clockCheck(date: string | undefined, asked: number, answered: number): Check | undefined {
  const at = Date.parse(date ?? '');
  if (Number.isNaN(at)) return undefined;
  const ahead = Math.max(0, at - answered);
  const behind = Math.max(0, asked - (at + 1000));
  const skew = Math.max(ahead, behind);
  if (skew <= skewMs) return ok('clock', 'the same here and there');
  const detail = `the server’s is ${durationText(skew)} ${ahead > 0 ? 'ahead' : 'behind'}`;
  return warning(
    'clock',
    detail,
    'Set both by a time server (NTP): signed addresses and times in lists are wrong otherwise.',
  );
}

/** What is behind the login; nothing more where that fails. */
export async function systemChecks(context: Context): Promise<readonly Check[]> {
  const user = context.connection.credentials?.username;
  let info: JsonRecord;
  try {
    info = await context.api.info();
  } catch (error) {
    return [failed('login', error)];
  }
  const checks = [ok('login', `as ${oneLine(user ?? 'nobody')}`), versionCheck(textIn(info, 'version'))];
  for (const [name, look] of looks) {
    try {
      checks.push(...(await look(context)));
    } catch (error) {
      context.signal.throwIfAborted();
      checks.push(failed(name, error));
    }
  }
  return checks;
}

const looks: readonly (readonly [string, (context: Context) => Promise<readonly Check[]>])[] = [
  ['overview', overviewChecks],
  ['object store', storeChecks],
  ['components', deploymentChecks],
];

function versionCheck(server: string | undefined): Check {
  const client = clientVersion();
  if (server === client) return ok('version', client);
  const detail = `the server is ${oneLine(server ?? '?')}, this client ${client}`;
  return warning('version', detail, 'Use both of one version: what one has the other may not know.');
}

async function overviewChecks(context: Context): Promise<readonly Check[]> {
  const overview = await context.api.overview();
  const adapters = Object.entries(record(overview['adapters'] ?? {}, '"adapters"')).map(
    ([port, value]) => [port, textIn(record(value, 'an adapter'), 'adapter') ?? '?'] as const,
  );
  const detail = adapters.map(([port, adapter]) => `${oneLine(port)}: ${oneLine(adapter)}`).join('; ');
  const letters = numberIn(overview, 'dead_letters') ?? 0;
  const executor = adapters.find(([port]) => port === 'executor')?.[1] ?? '';
  return [
    ok('adapters', detail),
    letters === 0
      ? ok('dead letters', 'none')
      : warning(
          'dead letters',
          String(letters),
          'sluice dead-letter list shows why; sluice dead-letter redrive --all sends them again.',
        ),
    ...(await serviceChecks(context, executor)),
  ];
}

/** Scripts that run as processes do not run in their images. */
async function serviceChecks(context: Context, executor: string): Promise<readonly Check[]> {
  const services = await context.api.services();
  const count = plural(services.length, 'service');
  const withImage = services.filter((service) => (textIn(service, 'image') ?? '') !== '');
  if (!/process/i.test(executor) || withImage.length === 0) return [ok('services', count)];
  const names = withImage.slice(0, 5).map((service) => oneLine(textIn(service, 'name') ?? ''));
  const more = withImage.length > names.length ? ', …' : '';
  return [
    warning(
      'services',
      `${count}; the image is not used: ${names.join(', ')}${more}`,
      'Their scripts need what they call on the server’s machine; with DOCKER_HOST set the server runs them in their images.',
    ),
  ];
}

const connectMs = 5000;

/** Whether the S3 server that the installation names can be reached from here. */
async function storeChecks(context: Context): Promise<readonly Check[]> {
  const config = await context.api.systemConfig();
  const endpoint = textIn(record(config['minio_provider'] ?? {}, '"minio_provider"'), 'endpoint') ?? '';
  if (endpoint === '') return [];
  if (!URL.canParse(endpoint))
    return [warning('S3 server', `"${oneLine(endpoint)}" is not a URL`, 'Set MINIO_ENDPOINT of the server.')];
  // Hosts only: a URL may hold a password.
  const { hostname, port, protocol, host } = new URL(endpoint);
  const target = {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port || (protocol === 'https:' ? 443 : 80)),
  };
  try {
    await reach(target, context.signal);
    return [ok('S3 server', `${host} answers`)];
  } catch (error) {
    context.signal.throwIfAborted();
    const mend =
      'The server may reach it all the same; from here it has to be up, and let through by firewalls, for S3 clients only.';
    return [warning('S3 server', `${host} cannot be reached from here (${messageOf(error)})`, mend)];
  }
}

async function reach(
  target: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connectSocket({ ...target, timeout: connectMs, signal });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => socket.destroy(new Error(`no answer for ${connectMs / 1000} s`)));
    socket.once('error', reject);
  });
}
