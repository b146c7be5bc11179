import { CliError } from '../cli-error.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { oneLine, shorten } from '../format/text.ts';
import type { Connection } from './connection.ts';
import type { HttpReply } from './transport.ts';
import type { TransportError } from './transport-error.ts';

/**
 * What to say when no answer came.
 * @param wasReached the server has answered before in this command
 */
export function connectionError(
  connection: Connection,
  error: TransportError,
  wasReached: boolean,
): CliError {
  const at = connection.url.href.replace(/\/$/, '');
  switch (error.kind) {
    case 'timeout':
      return new CliError(exitCodes.timedOut, `${at} gives no answer (${error.message}).`, {
        code: 'timed_out',
        hint: 'Wait longer with --timeout, or look at the server’s log.',
        cause: error,
      });
    case 'tls':
      return new CliError(exitCodes.unreachable, `No trusted connection to ${at}: ${error.message}.`, {
        code: 'unreachable',
        hint: 'The certificate authority to trust is given with: sluice login URL --ca-file FILE; or in NODE_EXTRA_CA_CERTS.',
        cause: error,
      });
    case 'broken':
      return new CliError(exitCodes.unreachable, `The connection to ${at} broke: ${error.message}.`, {
        code: 'unreachable',
        hint: wasReached
          ? 'The server has just ended, or it refuses what was being sent (too large?): look at its log.'
          : 'Is that the address of a Sluice server?',
        cause: error,
      });
    default:
      return new CliError(exitCodes.unreachable, `No server answers at ${at}.`, {
        code: 'unreachable',
        hint: startHint(connection),
        cause: error,
      });
  }
}

function startHint(connection: Connection): string {
  if (connection.source === 'login') return 'Is the address right, and is the server running?';
  if (connection.source === 'profile') {
    const name = connection.profile ?? '';
    return `It is the server of the profile "${name}". Is it running? Another one: --profile, --url, or sluice profile use.`;
  }
  if (connection.source === 'option' || connection.source === 'environment') {
    const name = connection.source === 'option' ? '--url' : 'SLUICE_URL';
    return `Is ${name} right, and is the server running? A server on this machine starts with: npm start`;
  }
  const stopped =
    connection.dataFolder === undefined ? '' : ` (the server of ${connection.dataFolder} has ended)`;
  return `Start one with: npm start${stopped}; name another with --url or SLUICE_URL, its data folder with SLUICE_DATA.`;
}

/** What to say when the server said no: its problem document, its text, or the status alone. */
export function answerError(connection: Connection, reply: HttpReply, body: string): CliError {
  const problem = parseProblem(reply.header('content-type'), body);
  const message = problem.message ?? statusText(reply.status);
  const namesField =
    problem.field === undefined || message.toLowerCase().includes(problem.field.toLowerCase());
  return new CliError(exitCodeOf(reply.status), namesField ? message : `${problem.field}: ${message}`, {
    code: problem.code ?? codeOf(reply.status),
    field: problem.field,
    hint: hintOf(connection, reply),
    status: reply.status,
    retryAfter: reply.header('retry-after'),
  });
}

function exitCodeOf(status: number): ExitCode {
  if (status === 401 || status === 403) return exitCodes.unauthenticated;
  return status === 404 ? exitCodes.notFound : exitCodes.failed;
}

const codes: Readonly<Record<number, string>> = {
  400: 'invalid_input',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  412: 'precondition_failed',
  413: 'too_large',
  422: 'unprocessable',
  429: 'limit_reached',
  503: 'unavailable',
  507: 'storage_full',
};

function codeOf(status: number): string {
  return codes[status] ?? 'failed';
}

const texts: Readonly<Record<number, string>> = {
  401: 'The server does not know this user name and password.',
  403: 'The server does not allow this.',
  404: 'The server has no such thing.',
  409: 'The server has something else of that name, or it is in another state.',
  413: 'This is too large for the server.',
  429: 'The server has too much to do.',
  502: 'The gateway in front of the server got no answer from it.',
  503: 'The server can’t do this at the moment.',
  504: 'The gateway in front of the server got no answer from it in time.',
};

function statusText(status: number): string {
  return texts[status] ?? `The server answered with status ${status}.`;
}

function hintOf(connection: Connection, reply: HttpReply): string | undefined {
  if (reply.status === 401 && connection.source === 'profile') {
    const name = connection.profile ?? '';
    return `The profile "${name}" is not accepted any more; log in again: sluice login ${connection.url.href.replace(/\/$/, '')} --name ${name}`;
  }
  if (reply.status === 401 && connection.source === 'login') return 'Check user name and password.';
  if (reply.status === 401) {
    return connection.credentials === undefined
      ? 'Set SLUICE_USERNAME and SLUICE_PASSWORD (or SLUICE_DATA, the data folder of a server on this machine), or log in: sluice login URL'
      : 'Check SLUICE_USERNAME and SLUICE_PASSWORD.';
  }
  const location = reply.header('location');
  if (reply.status >= 300 && reply.status < 400 && location !== undefined) {
    return `It sends on to ${oneLine(location)}; if that is right, give it with --url.`;
  }
  return undefined;
}

interface Problem {
  readonly message?: string;
  readonly code?: string;
  readonly field?: string;
}

const maxText = 2000;

/** RFC 9457, or OSCAR's plain text. A page of HTML (a proxy's) is not shown. */
function parseProblem(contentType: string | undefined, body: string): Problem {
  const text = body.trim();
  if (text === '' || contentType?.includes('html') === true) return {};
  if (contentType?.includes('json') !== true) return { message: shorten(text, maxText) };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { message: shorten(text, maxText) };
  }
  if (typeof parsed !== 'object' || parsed === null) return {};
  const pick = (key: string): string | undefined => {
    const value: unknown = Object.getOwnPropertyDescriptor(parsed, key)?.value;
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const message = pick('detail') ?? pick('title') ?? pick('message') ?? pick('error');
  const code = pick('code');
  const field = pick('field');
  return {
    ...(message === undefined ? {} : { message }),
    ...(code === undefined ? {} : { code }),
    ...(field === undefined ? {} : { field }),
  };
}
