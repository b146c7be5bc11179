import { RunnerCall, runnerCallHeader } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { Compile } from 'typebox/compile';
import { decodeUtf8, parseJson } from '../domain/text.ts';

/** A call's id becomes a variable and part of log lines. */
const callId = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;

/** @returns reads the header of a call; throws AppError `invalid_input` */
export function createCallParser(): (header: string | string[] | undefined) => RunnerCall {
  const contract = Compile(RunnerCall);
  return (header) => {
    if (typeof header !== 'string') throw wrong('is missing');
    const text = decodeUtf8(Buffer.from(header, 'base64url'));
    const value = text === undefined ? undefined : parseJson(text);
    if (!contract.Check(value)) throw wrong('is not the base64url of a call in JSON');
    if (!callId.test(value.call_id))
      throw wrong('has a call_id with other characters than letters, digits, ".", "_" and "-"');
    return value;
  };
}

function wrong(what: string): AppError {
  return new AppError('invalid_input', `The header ${runnerCallHeader} ${what}.`, {
    field: runnerCallHeader,
  });
}
