import { exitCodes, type ExitCode } from './exit-codes.ts';

export interface CliErrorOptions {
  /** A word for programs: the server's code where it gave one. */
  readonly code?: string;
  /** The field at fault, in the server's words. */
  readonly field?: string | undefined;
  /** What to do next, for a person. */
  readonly hint?: string | undefined;
  /** The HTTP status behind it. */
  readonly status?: number | undefined;
  /** The answer's `Retry-After`: what was asked for was not begun. */
  readonly retryAfter?: string | undefined;
  readonly cause?: unknown;
}

/** A failure that ends the command: what to say and what to exit with. Anything else that is thrown is a bug of ours. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly code: string;
  readonly field: string | undefined;
  readonly hint: string | undefined;
  readonly status: number | undefined;
  readonly retryAfter: string | undefined;

  constructor(exitCode: ExitCode, message: string, options: CliErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.code = options.code ?? 'failed';
    this.field = options.field;
    this.hint = options.hint;
    this.status = options.status;
    this.retryAfter = options.retryAfter;
  }
}

/** The command line or an input file is wrong. */
export function usageError(message: string, hint?: string): CliError {
  return new CliError(exitCodes.usage, message, { code: 'usage', hint });
}

export function notFound(message: string, hint?: string): CliError {
  return new CliError(exitCodes.notFound, message, { code: 'not_found', hint, status: 404 });
}

/** The `code` of a Node system error (`ENOENT`), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
