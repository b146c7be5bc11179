import { AppError, type ErrorCode } from '@sluice/shared/errors';
import type { FailedStep } from './build-progress.ts';
import { cutText } from './log-text.ts';

/** Words for programs why a build failed; an error of a build carries one as `details.reason`. */
export type BuildReason =
  /** A step ended with a failure: what is in the requirements file cannot be installed. */
  | 'requirements_failed'
  /** The base image is not there, not for this platform, or not for everybody. */
  | 'base_missing'
  /** The registry takes no image from us. */
  | 'registry_refused'
  | 'registry_unavailable'
  | 'builder_unavailable'
  /** Worker after worker ended while it was at it. */
  | 'builder_lost'
  | 'timed_out'
  | 'cancelled'
  /** Anything else that BuildKit says of the build itself. */
  | 'build_failed';

export function buildError(code: ErrorCode, reason: BuildReason, message: string, cause?: unknown): AppError {
  return new AppError(code, message, { details: { reason }, ...(cause === undefined ? {} : { cause }) });
}

/** What is known of a build that failed. */
export interface FailureFacts {
  /** What the program said last. */
  readonly said: string;
  readonly step: FailedStep | undefined;
}

const maxSaid = 1000;
const maxTail = 1500;
const tailLines = 10;

/** A step's own failure, at the end of the text: what a script prints or a command holds may look like anything. */
const exitForm = /did not complete successfully: exit code: (\d+)(?:: [^"]{0,200})?$/;
const registryForm =
  /failed to push|unexpected status from|failed to do request|failed to resolve source metadata|failed to authorize|failed to fetch (?:anonymous|oauth) token|(?:pull|push) access denied|failed to copy|server message: |no match for platform/;
const daemonForm =
  /failed to list workers|failed to receive status|failed to get status|failed to dial|code = (?:Unavailable|Canceled)|(?:Unavailable|Canceled): |transport is closing|transport: |error reading from server|no active session|context (?:canceled|deadline exceeded)|connection refused|no such job|closing transport/i;
const diskForm = /no space left on device|disk quota exceeded/i;
const networkForm =
  /connection refused|connection reset|broken pipe|\bEOF\b|i\/o timeout|timeout|no such host|server misbehaving|network is unreachable|no route to host|deadline exceeded|too many requests/i;
/** Not of the Dockerfile's: the program that makes an SBOM comes as an image. */
const helperName = 'resolve image config for docker-image://';
const invalidForm =
  /(?:manifest|name|blob|digest|tag) (?:invalid|unknown)|invalid (?:manifest|repository name)|unsupported/i;
const certificateForm = /x509: |tls: /i;
const plainHttpForm = /server gave HTTP response to HTTPS client/;
const accessForm =
  /access denied|insufficient_scope|failed to authorize|no basic auth|authentication required|unauthorized|forbidden|denied/i;

/**
 * What a failure of `buildctl` means to whoever asked for the image. BuildKit has no codes for most of it, only texts; those that are looked for here
 * are of BuildKit 0.13 to 0.25 and of containerd's registry client.
 */
export function buildFailure({ said, step }: FailureFacts): AppError {
  const error = step?.error ?? said;
  const exit = exitForm.exec(error.trim()) ?? exitForm.exec(said.trim());
  if (exit !== null) return stepFailure(Number(exit[1]), step, said);
  const text = `${said}\n${step?.error ?? ''}`;
  if (registryForm.test(text)) return registryFailure(text, step);
  if (diskForm.test(text)) {
    return buildError(
      'storage_full',
      'builder_unavailable',
      "The builder's disk is full; the build is tried again.",
    );
  }
  if (said === '' || daemonForm.test(text)) {
    const why = said === '' ? 'it ended without a word' : firstLine(said);
    return buildError('unavailable', 'builder_unavailable', `The builder went away: ${why}.`);
  }
  return buildError('unprocessable', 'build_failed', `The image cannot be built: ${plainText(said)}`);
}

function stepFailure(exitCode: number, step: FailedStep | undefined, said: string): AppError {
  const name = step === undefined || step.name === '' ? 'A step' : `The step "${cutText(step.name, 200)}"`;
  const killed = exitCode === 137 ? ' (killed, perhaps because it wanted more memory than there is)' : '';
  const lines = (step?.lines ?? []).filter((line) => line.trim() !== '').slice(-tailLines);
  const tail = lines.join('\n').slice(-maxTail);
  const shown = tail === '' ? (step === undefined ? `: ${cutText(said, maxSaid)}` : '.') : `:\n${tail}`;
  return buildError(
    'unprocessable',
    'requirements_failed',
    `${name} failed with exit code ${exitCode}${killed}${shown}`,
  );
}

function registryFailure(text: string, step: FailedStep | undefined): AppError {
  const host = hostIn(text);
  const registry = host === undefined ? 'The registry' : `The registry ${host}`;
  const isPush =
    /failed to push|push access denied/.test(text) || /^(?:exporting|pushing) /.test(step?.name ?? '');
  const status = Number(/unexpected status from [^\n]*: (\d{3})\b/.exec(text)?.[1] ?? 0);
  const common = registryTrouble(registry, text, status);
  if (common !== undefined) return common;
  const isRefused = status === 401 || status === 403 || accessForm.test(text);
  if (isPush) return pushFailure(registry, text, status, isRefused);
  const image = imageIn(text);
  if (step?.name.startsWith(helperName) === true) {
    const why = 'BuildKit needs it to list what an image consists of: mirror it, or build without "sbom"';
    const helper = image.replace('base image', 'image');
    return buildError('unprocessable', 'build_failed', `${helper} cannot be used. ${why}.`);
  }
  if (/no match for platform/.test(text)) {
    return buildError(
      'unprocessable',
      'base_missing',
      `${image} is not made for the platform that was asked for.`,
    );
  }
  if (isRefused) {
    return buildError(
      'unprocessable',
      'base_missing',
      `${image} is not there, or needs a login that the builder has not.`,
    );
  }
  if (status === 404 || /not found|does not exist|manifest unknown/i.test(text)) {
    return buildError('unprocessable', 'base_missing', `${image} is not there.`);
  }
  return buildError('unprocessable', 'base_missing', `${image} cannot be used: ${firstLine(text)}.`);
}

function pushFailure(registry: string, text: string, status: number, isRefused: boolean): AppError {
  const refused = (why: string): AppError =>
    buildError('forbidden', 'registry_refused', `${registry} does not take the image: ${why}.`);
  if (isRefused) return refused('its name and password are missing, wrong, or give no right to push');
  // What distribution answers to the rest of an upload whose beginning it could not write.
  if (status === 416 || /invalid content range|blob upload unknown/.test(text)) {
    const message = `${registry} lost a part of the image; perhaps its disk is full.`;
    return buildError('storage_full', 'registry_unavailable', message);
  }
  if (status !== 0 || invalidForm.test(text)) return refused(firstLine(text));
  return buildError(
    'unavailable',
    'registry_unavailable',
    `${registry} did not take the image: ${firstLine(text)}.`,
  );
}

/** Troubles of a registry that pass, by themselves or when somebody mends it. */
function registryTrouble(registry: string, text: string, status: number): AppError | undefined {
  const passes = (message: string): AppError =>
    buildError('unavailable', 'registry_unavailable', `${registry} ${message}`);
  if (status === 507 || diskForm.test(text)) {
    return buildError('storage_full', 'registry_unavailable', `${registry} has no space left.`);
  }
  if (status === 405) return passes('is read-only now, perhaps because it is being cleaned up.');
  if (status === 429 || /too many requests|toomanyrequests/i.test(text))
    return passes('wants fewer requests.');
  if (status >= 500 || status === 408) return passes(`fails (${status}).`);
  if (plainHttpForm.test(text)) {
    return passes("has no TLS: name it in SLUICE_REGISTRY_INSECURE, and in buildkitd's own configuration.");
  }
  if (certificateForm.test(text)) return passes(`has a certificate that is not trusted: ${cause(text)}.`);
  return status === 0 && networkForm.test(text) ? passes(`cannot be reached: ${cause(text)}.`) : undefined;
}

/** Of the address in a text; a token service's is not told apart from its registry's. */
function hostIn(text: string): string | undefined {
  return (/https?:\/\/([\w.[\]:-]+)/.exec(text) ?? /failed to push ([\w.[\]:-]+)\//.exec(text))?.[1];
}

function imageIn(text: string): string {
  const name = /failed to resolve source metadata for ([\w.:/@-]+?):? /.exec(text)?.[1];
  return name === undefined ? 'The base image' : `The base image ${name}`;
}

/** Of the network's own words, which stand behind what each layer of the programs put in front. */
function cause(text: string): string {
  const line = firstLine(text);
  return (
    /(?:: )((?:dial|read|write) \w+[: ].*|net\/http: .*|http: .*|tls: .*|x509: .*)$/.exec(line)?.[1] ?? line
  );
}

function firstLine(text: string): string {
  return plainText(text.trim().split('\n')[0] ?? '');
}

function plainText(text: string): string {
  return cutText(text.replace(/^(?:failed to solve: )+/, ''), maxSaid);
}
