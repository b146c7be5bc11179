import { AttemptStop } from './attempt-stop.ts';
import type { QueryParameters } from './event.ts';

/** Names of the server's own variables that a script may see; all others stay with the server. */
const inherited = new Set(['PATH', 'HOME', 'LANG', 'TZ', 'USER', 'LOGNAME', 'SHELL', 'TMPDIR']);

/** What a script gets of the server's environment: never a password, a token or a setting of ours. */
export function pickBaseEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const picked: [string, string][] = [];
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && (inherited.has(name) || name.startsWith('LC_'))) picked.push([name, value]);
  }
  return Object.fromEntries(picked);
}

export interface EnvironmentParts {
  readonly base: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, string>>;
  readonly variables: Readonly<Record<string, string>>;
  readonly serviceName: string;
  readonly serviceToken: string;
  readonly exposed: boolean;
  readonly runId: string;
  readonly attempt: number;
  readonly instance: string;
  readonly hostName: string;
  readonly traceparent: string;
  readonly query: QueryParameters;
  /** Of a synchronous call, names as the script finds them. */
  readonly http: Iterable<readonly [name: string, value: string]>;
  /** Absent where the event is not text. */
  readonly eventText: string | undefined;
  readonly eventTime: string | undefined;
  readonly objectKey: string | undefined;
  readonly inputDir: string;
  readonly outputDir: string;
  readonly inputPath: string | undefined;
  /** Where the event is put when it does not fit into a variable. */
  readonly eventFile: string;
}

export interface EnvironmentLimits {
  /** Bytes of one `NAME=value`, its end included. Linux allows 128 KiB. */
  readonly stringBytes: number;
  /** Bytes of all, pointers included. macOS allows 1 MiB beside the arguments. */
  readonly totalBytes: number;
}

export interface ScriptEnvironment {
  readonly env: Readonly<Record<string, string>>;
  /** `EVENT` was left out: the event must be written to `eventFile`, which `EVENT_FILE` names. */
  readonly eventInFile: boolean;
  /** Query parameters and headers that no variable can hold. */
  readonly skipped: readonly string[];
}

/** Bytes that the kernel keeps for each string beside the string: its end and a pointer. */
const perString = 9;

/**
 * The whole environment of a script (OSCAR §4.3, §7.2); nothing is inherited but `base`. Later ones win: base, secrets,
 * the definition's variables (Kubernetes lets `env` win over `envFrom`), OSCAR's, the event's, ours. `EVENT_FILE` is set only
 * where `EVENT` cannot be: past 128 KiB or not text. The watchdog's variables (`fprocess`, `max_inflight`, …) are not set:
 * they configure a program that is not there; `UDOCKER_*` and `EXECUTION_MODE` of OSCAR §7.2 configure its Lambda mode.
 * @throws AttemptStop `environment_invalid`, `environment_too_large`
 */
export function scriptEnvironment(parts: EnvironmentParts, limits: EnvironmentLimits): ScriptEnvironment {
  const skipped: string[] = [];
  const variables = new Map(Object.entries(parts.base));
  for (const user of [parts.secrets, parts.variables]) {
    for (const [name, value] of Object.entries(user)) variables.set(checkedName(name, value), value);
  }
  for (const [name, value] of serviceVariables(parts)) variables.set(name, value);
  for (const [name, value] of parts.query) {
    const full = `CONT_VAR_${name}`;
    if (isVariable(full, value, limits)) variables.set(full, value);
    else skipped.push(name);
  }
  for (const [name, value] of parts.http) {
    if (isVariable(name, value, limits)) variables.set(name, value);
    else skipped.push(name);
  }
  for (const [name, value] of attemptVariables(parts)) variables.set(name, value);
  variables.delete('EVENT');
  variables.delete('EVENT_FILE');
  const total = checkSizes(variables, limits);
  const eventInFile = !addEvent(variables, parts, limits, total);
  return { env: Object.fromEntries(variables), eventInFile, skipped };
}

function* serviceVariables(parts: EnvironmentParts): Iterable<readonly [string, string]> {
  yield ['OSCAR_SERVICE_NAME', parts.serviceName];
  yield ['OSCAR_SERVICE_TOKEN', parts.serviceToken];
  yield ['OSCAR_SERVICE_BASE_PATH', parts.exposed ? `/system/services/${parts.serviceName}/exposed` : ''];
  yield ['JOB_UUID', parts.runId];
  yield ['RESOURCE_ID', parts.hostName];
}

function* attemptVariables(parts: EnvironmentParts): Iterable<readonly [string, string]> {
  if (parts.objectKey !== undefined && !parts.objectKey.includes('\0')) {
    yield ['STORAGE_OBJECT_KEY', parts.objectKey];
  }
  if (parts.eventTime !== undefined && !parts.eventTime.includes('\0')) yield ['EVENT_TIME', parts.eventTime];
  yield ['TMP_INPUT_DIR', parts.inputDir];
  yield ['TMP_OUTPUT_DIR', parts.outputDir];
  if (parts.inputPath !== undefined) yield ['INPUT_FILE_PATH', parts.inputPath];
  yield ['TRACEPARENT', parts.traceparent];
  yield ['SLUICE_RUN_ID', parts.runId];
  yield ['SLUICE_ATTEMPT', attemptMarker(parts.runId, parts.attempt)];
  yield ['SLUICE_INSTANCE', parts.instance];
}

/** The value of `SLUICE_ATTEMPT`, by which processes that left their group are found. */
function attemptMarker(runId: string, attempt: number): string {
  return `${runId}/${attempt}`;
}

/** True where the event fitted into `EVENT`. */
function addEvent(
  variables: Map<string, string>,
  parts: EnvironmentParts,
  limits: EnvironmentLimits,
  total: number,
): boolean {
  const text = parts.eventText;
  if (text !== undefined && isVariable('EVENT', text, limits)) {
    if (total + sizeOf('EVENT', text) <= limits.totalBytes) {
      variables.set('EVENT', text);
      return true;
    }
  }
  variables.set('EVENT_FILE', parts.eventFile);
  return false;
}

function checkedName(name: string, value: string): string {
  if (name === '' || name.includes('=') || name.includes('\0') || value.includes('\0')) {
    const shown = name.replaceAll('\0', '\\0');
    throw new AttemptStop(
      'environment_invalid',
      `the definition's variable "${shown}" cannot be set: a name must not be empty or hold "=", and no value may hold a zero byte`,
    );
  }
  return name;
}

function isVariable(name: string, value: string, limits: EnvironmentLimits): boolean {
  if (name.includes('=') || name.includes('\0') || value.includes('\0')) return false;
  return sizeOf(name, value) - perString + 1 <= limits.stringBytes;
}

function checkSizes(variables: ReadonlyMap<string, string>, limits: EnvironmentLimits): number {
  let total = 0;
  for (const [name, value] of variables) {
    const size = sizeOf(name, value);
    if (size - perString + 1 > limits.stringBytes) {
      throw new AttemptStop(
        'environment_too_large',
        `the variable ${name} is too large for a program's environment: at most ${limits.stringBytes} bytes with its name`,
      );
    }
    total += size;
  }
  if (total > limits.totalBytes) {
    throw new AttemptStop(
      'environment_too_large',
      `the variables are too large for a program's environment: ${total} bytes, at most ${limits.totalBytes}`,
    );
  }
  return total;
}

/** Bytes that `NAME=value` takes. */
function sizeOf(name: string, value: string): number {
  return Buffer.byteLength(name) + Buffer.byteLength(value) + 1 + perString;
}
