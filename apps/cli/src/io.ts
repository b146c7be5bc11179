import type { Readable, Writable } from 'node:stream';
import { CliError, messageOf, systemCode } from './cli-error.ts';
import { exitCodes } from './exit-codes.ts';

/** Where the command reads from and writes to. */
export interface Io {
  /** What the command is for: results only. Resolves when more may come. */
  out(text: string | Uint8Array): Promise<void>;
  /** Everything else: progress, warnings, errors. */
  err(text: string): Promise<void>;
  readonly stdin: Readable;
  readonly stderr: Writable;
  readonly outIsTty: boolean;
  readonly errIsTty: boolean;
  readonly inIsTty: boolean;
}

interface Tty {
  readonly isTTY?: boolean;
}

/**
 * Writes reject with the stream's own EPIPE (the reader has had enough), else with a CliError `output_failed`: a full disk is nobody's
 * bug.
 */
export function createIo(streams: {
  readonly stdin: Readable & Tty;
  readonly stdout: Writable & Tty;
  readonly stderr: Writable & Tty;
}): Io {
  return {
    out: (text) => write(streams.stdout, text),
    err: (text) => write(streams.stderr, text),
    stdin: streams.stdin,
    stderr: streams.stderr,
    outIsTty: streams.stdout.isTTY === true,
    errIsTty: streams.stderr.isTTY === true,
    inIsTty: streams.stdin.isTTY === true,
  };
}

function write(stream: Writable, chunk: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(chunk, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(systemCode(error) === 'EPIPE' ? error : outputFailed(error));
    });
  });
}

/** `code` of the error above. */
export const outputFailedCode = 'output_failed';

function outputFailed(error: Error): CliError {
  return new CliError(exitCodes.failed, `The output cannot be written: ${messageOf(error)}.`, {
    code: outputFailedCode,
    hint: 'Is the disk full?',
    cause: error,
  });
}
