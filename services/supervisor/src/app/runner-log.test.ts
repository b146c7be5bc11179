import { fakeClock } from '@sluice/shared/testing';
import { expect, test } from 'vitest';
import { createRunnerLog } from './runner-log.ts';

const messages = async (chunks: readonly string[], tail = 100): Promise<readonly string[]> => {
  const log = createRunnerLog(fakeClock(), { lines: 3, bytes: 20, lineBytes: 8 });
  for (const chunk of chunks) await log.write(Buffer.from(chunk));
  log.endLine();
  return log.tail(tail).map((one) => one.message);
};

test('lines come together from pieces, with and without a line break at the end', async () => {
  expect(await messages(['a', 'b\r\nc', '\n', '\nd'])).toEqual(['c', '', 'd']);
  expect(await messages(['one'])).toEqual(['one']);
  expect(await messages([])).toEqual([]);
});

test('the newest lines are kept, as many as the limits allow', async () => {
  expect(await messages(['1\n2\n3\n4\n5\n'])).toEqual(['3', '4', '5']);
  expect(await messages(['1\n2\n3\n'], 2)).toEqual(['2', '3']);
  expect(await messages(['12345678\n'.repeat(9)])).toEqual(['12345678', '12345678']);
});

test('a long line becomes several', async () => {
  expect(await messages(['123456789', 'ab\n'])).toEqual(['12345678', '9ab']);
  expect(await messages(['1234567890123\n'])).toEqual(['12345678', '90123']);
});
