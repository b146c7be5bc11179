import { access, constants, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readBytes } from '../api/client.ts';
import { parseRetryAfter } from '../api/retry.ts';
import type { HttpReply } from '../api/transport.ts';
import { TransportError } from '../api/transport-error.ts';
import { textIn } from '../api/wire.ts';
import { CliError, messageOf, usageError } from '../cli-error.ts';
import type { Context } from '../context.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';
import { bytesText } from '../format/quantity.ts';
import { oneLine } from '../format/text.ts';
import { asText, decodeAnswer, isZip } from '../runs/answer.ts';
import { readEventBody } from '../runs/event.ts';
import { waitDeadline } from '../runs/follow.ts';
import type { Deadline } from '../runs/wait.ts';
import { note } from '../say.ts';
import { serviceNamed } from './service.ts';

export interface CallOptions {
  readonly raw?: boolean;
  readonly output?: string;
  readonly contentType?: string;
  /** False with `--no-decode`. */
  readonly decode: boolean;
}

const maxAnswerBytes = 256 * 1024 * 1024;
const maxScriptOutput = 1024 * 1024;
const hintAfterMs = 2000;

/** Calls a service and waits for its answer. Once it may have begun, a call is never sent again. */
export async function call(
  context: Context,
  service: string,
  file: string | undefined,
  options: CallOptions,
): Promise<ExitCode> {
  if (options.contentType !== undefined && !/^[\x21-\x7e][\x20-\x7e]*$/.test(options.contentType))
    throw usageError('--content-type must be printable ASCII text');
  const target = options.output === '-' ? undefined : options.output;
  if (target !== undefined) await requireFile(path.resolve(context.cwd, target));
  const body = await readEventBody(context, file, options.raw === true);
  const token = textIn(await serviceNamed(context, service), 'token') ?? '';
  const reply = await withHint(context, service, () =>
    perform(context, { service, token, body, contentType: options.contentType }),
  );
  if (reply.status >= 300) return await showFailure(context, reply);
  await showAnswer(context, reply, options, target);
  return exitCodes.ok;
}

interface Call {
  readonly service: string;
  readonly token: string;
  readonly body: Uint8Array | undefined;
  readonly contentType: string | undefined;
}

/** Sends the call until the server takes it. */
async function perform(context: Context, call: Call): Promise<HttpReply> {
  const deadline = waitDeadline(context);
  for (;;) {
    const reply = await sendOnce(context, call, deadline);
    const pause = pauseBefore(context, reply);
    if (pause === undefined) return reply;
    if (pause >= deadline.left()) {
      const { message } = await context.api.callError(reply);
      throw new CliError(exitCodes.timedOut, `The call was not begun in time: ${message}`, {
        code: 'timed_out',
      });
    }
    const { message } = await context.api.callError(reply);
    await note(context, `${message} Trying again in ${Math.ceil(pause / 1000)} s.`);
    await context.sleep(pause);
  }
}

async function sendOnce(context: Context, call: Call, deadline: Deadline): Promise<HttpReply> {
  const { service, token, body, contentType } = call;
  const idleMs = Math.max(1, Math.min(deadline.left(), 2 ** 31 - 1));
  try {
    return await context.api.call(service, token, body, { contentType, idleMs });
  } catch (error) {
    if (!(error instanceof CliError && error.cause instanceof TransportError)) throw error;
    const { kind } = error.cause;
    if (kind !== 'broken' && kind !== 'timeout') throw error;
    const what = kind === 'broken' ? 'The connection broke' : 'There is no answer yet';
    throw new CliError(
      error.exitCode,
      `${what}, and nobody knows how far the call has come. It is not sent again.`,
      {
        code: error.code,
        hint:
          kind === 'timeout'
            ? 'Wait longer with --timeout; for long work there is: sluice submit'
            : undefined,
        cause: error.cause,
      },
    );
  }
}

const minPauseMs = 200;

/** Milliseconds until the call may be sent again: only where the server says that it was not begun. */
function pauseBefore(context: Context, reply: HttpReply): number | undefined {
  // A runner that had the call in hand has given it an id.
  if ((reply.status !== 429 && reply.status !== 503) || reply.header('x-call-id') !== undefined)
    return undefined;
  const seconds = parseRetryAfter(reply.header('retry-after'), context.now());
  return seconds === undefined ? undefined : Math.max(minPauseMs, seconds * 1000);
}

/** Says after a while what is waited for. */
async function withHint<T>(context: Context, service: string, wait: () => Promise<T>): Promise<T> {
  const timer = setTimeout(() => {
    const text = `waiting for ${oneLine(service)}; the first call of a while has to wait until a runner is ready`;
    // Where stderr is gone there is nobody to tell.
    note(context, text).catch(() => undefined);
  }, hintAfterMs);
  try {
    return await wait();
  } finally {
    clearTimeout(timer);
  }
}

/** The script's own failure is shown as it printed it; anything else is the server's word. */
async function showFailure(context: Context, reply: HttpReply): Promise<ExitCode> {
  if (reply.status !== 500 && reply.status !== 408) throw await context.api.callError(reply);
  const output = await readBytes(reply.body, maxScriptOutput, context.signal);
  const text = output.toString('utf8');
  const head = reply.status === 408 ? 'The script took too long.' : 'The script failed.';
  const status = /^exit status (\d+)$/m.exec(text)?.[1];
  if (context.json !== undefined) {
    const error = {
      code: reply.status === 408 ? 'script_timed_out' : 'script_failed',
      message: head,
      status: reply.status,
      exit_code: exitCodes.runFailed,
      output: text,
    };
    await context.json.document({ error });
    return exitCodes.runFailed;
  }
  await context.io.err(text === '' || text.endsWith('\n') ? text : `${text}\n`);
  await context.io.err(`sluice: ${head}${status === undefined ? '' : ` (exit code ${status})`}\n`);
  return exitCodes.runFailed;
}

async function showAnswer(
  context: Context,
  reply: HttpReply,
  options: CallOptions,
  target: string | undefined,
): Promise<void> {
  const answer = await readBytes(reply.body, maxAnswerBytes, context.signal);
  const decoded = options.decode ? decodeAnswer(answer) : undefined;
  const bytes = decoded ?? answer;
  if (target !== undefined) await writeWhole(path.resolve(context.cwd, target), bytes);
  if (context.json !== undefined) {
    await context.json.document(documentOf(reply, bytes, decoded !== undefined, target));
    return;
  }
  const archive =
    decoded !== undefined && isZip(decoded) ? ' (a ZIP archive: the script made several files)' : '';
  if (target !== undefined) {
    await note(context, `${oneLine(target)}: ${bytesText(bytes.length)}${archive}`);
  } else if (
    decoded !== undefined &&
    context.io.outIsTty &&
    options.output === undefined &&
    asText(bytes) === undefined
  ) {
    await context.io.out(answer);
    await note(context, `This is base64 of ${bytesText(bytes.length)}${archive}; --output FILE decodes it.`);
  } else {
    await context.io.out(bytes);
  }
}

function documentOf(reply: HttpReply, bytes: Buffer, decoded: boolean, target: string | undefined): object {
  const callId = reply.header('x-call-id');
  const seconds = Number(reply.header('x-duration-seconds') ?? Number.NaN);
  const text = asText(bytes);
  const content = text === undefined ? { base64: bytes.toString('base64') } : { text };
  return {
    ...(callId === undefined ? {} : { call_id: callId }),
    ...(Number.isNaN(seconds) ? {} : { seconds }),
    decoded,
    size: bytes.length,
    ...(target === undefined ? content : { file: target }),
  };
}

/** Before anything is started: a place that can't be written to would lose the answer. */
async function requireFile(file: string): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found?.isDirectory() === true) throw usageError(`--output ${file} is a folder; name a file in it`);
  try {
    await access(path.dirname(file), constants.W_OK | constants.X_OK);
  } catch (error) {
    // A device or a pipe is written to in its place.
    if (found === undefined || found.isFile())
      throw usageError(`--output ${file} cannot be written: ${messageOf(error)}`);
  }
}

/** A regular file whole or not at all. */
async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  const isSpecial = found !== undefined && !found.isFile();
  const part = isSpecial ? file : `${file}.${process.pid}.part`;
  try {
    await writeFile(part, bytes, { flag: isSpecial ? 'w' : 'wx' });
    if (!isSpecial) await rename(part, file);
  } catch (error) {
    if (!isSpecial) await rm(part, { force: true });
    throw new CliError(exitCodes.failed, `${file} cannot be written: ${messageOf(error)}.`, { cause: error });
  }
}
