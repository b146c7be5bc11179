import type { Connection } from '../api/connection.ts';
import { connect, type Context, type LocalContext } from '../context.ts';
import type { Check, Status } from '../doctor/check.ts';
import { failure, ok, warning } from '../doctor/check.ts';
import { dataFolderChecks, engineChecks, inotifyChecks, nodeCheck } from '../doctor/machine.ts';
import { connectionChecks, failed, systemChecks } from '../doctor/server.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { tableText } from '../format/table.ts';
import { oneLine } from '../format/text.ts';
import { configFileOf, readConfig } from '../profiles/config.ts';

/** Looks at everything between here and the server's work, and says how to mend what is wrong. */
export async function doctor(local: LocalContext): Promise<ExitCode> {
  const checks: Check[] = [];
  const add = async (look: () => Promise<readonly Check[]>): Promise<boolean> => {
    const found = await look();
    checks.push(...found);
    return found.every(({ status }) => status !== 'fail');
  };
  await add(() => Promise.resolve([nodeCheck(process.versions.node)]));
  await add(() => configChecks(local));
  const context = await chosen(local, checks);
  if (context !== undefined) {
    if (await add(() => connectionChecks(context))) await add(() => systemChecks(context));
    await add(() => localChecks(context));
  }
  local.signal.throwIfAborted();
  await show(local, checks);
  return checks.some(({ status }) => status === 'fail') ? exitCodes.failed : exitCodes.ok;
}

async function configChecks({ env }: LocalContext): Promise<readonly Check[]> {
  const name = 'configuration';
  try {
    const { file, profiles, current, isExposed } = await readConfig(configFileOf(env));
    if (file === undefined) return [warning(name, 'no place for one', 'Set HOME or XDG_CONFIG_HOME.')];
    if (isExposed)
      return [warning(name, `${file} holds passwords, and others may read it`, `chmod 600 ${file}`)];
    if (current !== undefined && !profiles.has(current))
      return [
        failure(
          name,
          `the current profile "${current}" does not exist`,
          'Choose another: sluice profile use NAME',
        ),
      ];
    return [ok(name, profiles.size === 0 ? 'no profiles' : `${file}: ${[...profiles.keys()].join(', ')}`)];
  } catch (error) {
    return [failed(name, error)];
  }
}

const reasons: Readonly<Record<Connection['source'], string>> = {
  option: '--url',
  login: 'login',
  profile: 'profile',
  environment: 'SLUICE_URL',
  'local server': 'the server on this machine',
  default: 'nothing else is known',
};

/** The server that commands go to, and why that one. */
async function chosen(local: LocalContext, checks: Check[]): Promise<Context | undefined> {
  try {
    // What `connect` warns of is among the checks.
    const quiet = { ...local, io: { ...local.io, err: () => Promise.resolve() } };
    const context = { ...(await connect(quiet)), io: local.io };
    const { url, source, profile } = context.connection;
    const why = profile === undefined ? reasons[source] : `profile ${profile}`;
    checks.push(ok('server', `${url.href.replace(/\/$/, '')} (${why})`));
    return context;
  } catch (error) {
    local.signal.throwIfAborted();
    checks.push(failed('server', error));
    return undefined;
  }
}

/** Only where the server is this machine's own. */
async function localChecks({ connection, env }: Context): Promise<readonly Check[]> {
  const isLocal = connection.source === 'local server' || connection.source === 'default';
  if (!isLocal || connection.dataFolder === undefined) return [];
  return [
    ...(await dataFolderChecks(connection.dataFolder)),
    ...(await inotifyChecks()),
    ...(await engineChecks(env['DOCKER_HOST'])),
  ];
}

async function show(local: LocalContext, checks: readonly Check[]): Promise<void> {
  if (local.json !== undefined) {
    await local.json.document({ checks });
    return;
  }
  const { colors } = local;
  const shown: Readonly<Record<Status, string>> = {
    ok: colors.green('ok'),
    warn: colors.yellow('warn'),
    fail: colors.red('FAIL'),
  };
  const rows = byComponent(checks).flatMap(({ component, of }) => [
    ...(component === undefined ? [] : [['', colors.bold(oneLine(component)), '']]),
    ...of.flatMap(({ check, status, detail, mend }) => [
      [shown[status], oneLine(check), oneLine(detail)],
      ...(mend === undefined ? [] : [['', '', `→ ${oneLine(mend)}`]]),
    ]),
  ]);
  const columns = ['', 'CHECK', ''].map((title) => ({ title }));
  await local.io.out(`${tableText(columns, rows)}\n`);
}

/** What was found from here first, then each component's under its name. */
function byComponent(
  checks: readonly Check[],
): readonly { readonly component: string | undefined; readonly of: readonly Check[] }[] {
  return [...Map.groupBy(checks, ({ component }) => component)]
    .map(([component, of]) => ({ component, of }))
    .sort((a, b) => Number(a.component !== undefined) - Number(b.component !== undefined));
}
