import { describe, expect, it } from 'vitest';
import { CliError } from './cli-error.ts';
import { exitCodes } from './exit-codes.ts';
import { createJsonOutput, errorDocument, type JsonOutput } from './output.ts';

function collect(): { output: JsonOutput; text: () => string } {
  let text = '';
  const output = createJsonOutput((part) => {
    text += part;
    return Promise.resolve();
  });
  return { output, text: () => text };
}

describe('a list', () => {
  it('is one document, written as it is filled', async () => {
    const { output, text } = collect();
    await output.list('items', async (add) => {
      await add({ a: 1 });
      expect(text()).toBe('{"items":[{"a":1}');
      await add('b');
      return { next: 'c' };
    });
    expect(JSON.parse(text())).toEqual({ items: [{ a: 1 }, 'b'], next: 'c' });
  });

  it('may be empty', async () => {
    const { output, text } = collect();
    await output.list('items', () => Promise.resolve(undefined));
    expect(text()).toBe('{"items":[]}\n');
  });

  it('is filled by several at once', async () => {
    const { output, text } = collect();
    await output.list('items', async (add) => {
      await Promise.all([1, 2, 3].map((item) => add(item)));
      return undefined;
    });
    expect(JSON.parse(text())).toEqual({ items: [1, 2, 3] });
  });

  it('ends with the error that stopped it', async () => {
    const { output, text } = collect();
    const error = new CliError(exitCodes.failed, 'no', { code: 'x', status: 500 });
    const fill = output.list('items', async (add) => {
      await add(1);
      throw error;
    });
    await expect(fill).rejects.toBe(error);
    expect(JSON.parse(text())).toEqual({
      items: [1],
      error: { code: 'x', message: 'no', status: 500, exit_code: 1 },
    });
    expect(output.hasBegun()).toBe(true);
  });
});

it('a bug of ours is an error of its own', () => {
  expect(errorDocument(new TypeError('oops'))).toEqual({ code: 'unexpected', message: 'oops', exit_code: 1 });
});
