import { CliError, messageOf } from './cli-error.ts';
import { FdlError } from './fdl/problem.ts';
import { exitCodes } from './exit-codes.ts';

/** What `--json` writes: one document, or a line for each thing while something is followed. */
export interface JsonOutput {
  /** Something has been written, so that an error can no longer be the document. */
  hasBegun(): boolean;
  document(value: unknown): Promise<void>;
  line(value: unknown): Promise<void>;
  /**
   * A document with one list, written as it is filled: memory stays flat however long it gets.
   * An error on the way becomes the document's `error` and is thrown on.
   * @param fill adds the items; what it returns are more fields of the document
   */
  list(key: string, fill: (add: AddItem) => Promise<object | undefined>): Promise<void>;
}

export type AddItem = (item: unknown) => Promise<void>;

export function createJsonOutput(write: (text: string) => Promise<void>): JsonOutput {
  let begun = false;
  const line = (value: unknown): Promise<void> => {
    begun = true;
    return write(`${JSON.stringify(value)}\n`);
  };
  const list: JsonOutput['list'] = async (key, fill) => {
    begun = true;
    await write(`{${JSON.stringify(key)}:[`);
    let separator = '';
    const add: AddItem = (item) => {
      const text = separator + JSON.stringify(item);
      separator = ',';
      return write(text);
    };
    try {
      await write(`]${fieldsText((await fill(add)) ?? {})}}\n`);
    } catch (error) {
      await write(`]${fieldsText({ error: errorDocument(error) })}}\n`);
      throw error;
    }
  };
  return { hasBegun: () => begun, document: line, line, list };
}

function fieldsText(fields: object): string {
  const text = JSON.stringify(fields);
  return text === '{}' ? '' : `,${text.slice(1, -1)}`;
}

/** An error as programs read it. */
export function errorDocument(error: unknown): object {
  if (error instanceof FdlError) {
    const message = 'The input file is not valid.';
    return { code: 'invalid_fdl', message, exit_code: exitCodes.usage, problems: error.problems };
  }
  if (!(error instanceof CliError))
    return { code: 'unexpected', message: messageOf(error), exit_code: exitCodes.failed };
  const { code, message, field, hint, status, exitCode } = error;
  return { code, message, field, hint, status, exit_code: exitCode };
}
