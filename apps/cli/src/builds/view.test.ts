import { describe, expect, it } from 'vitest';
import { parseBuild } from '../api/build-wire.ts';
import { createColors } from '../format/colors.ts';
import { createBuildView, type ViewContext } from './view.ts';

/** What a terminal shows of what was written, cursor movements of the view followed. */
function screenOf(written: string): string[] {
  const rows = [''];
  let row = 0;
  for (const [, up, clear, newline, text] of written.matchAll(
    // oxlint-disable-next-line no-control-regex -- what the view writes
    /\u001B\[(\d+)A|(\u001B\[J)|(\n)|\u001B\[\?7[lh]|\r|([^\u001B\r\n]+)/g,
  )) {
    if (up !== undefined) row -= Number(up);
    else if (clear !== undefined) rows.splice(row, rows.length, '');
    else if (newline !== undefined) {
      row += 1;
      rows[row] ??= '';
    } else if (text !== undefined) rows[row] = (rows[row] ?? '') + text;
  }
  expect(row).toBeGreaterThanOrEqual(0);
  return rows.slice(0, -1);
}

function terminal(errIsTty: boolean, json = false) {
  let written = '';
  const io = {
    errIsTty,
    err: (text: string) => {
      written += text;
      return Promise.resolve();
    },
  };
  const errColors = createColors(false);
  const context: ViewContext = { io, json: json ? {} : undefined, errColors, now: () => 5000 };
  return { context, written: () => written, screen: () => screenOf(written) };
}

const build = (over: Record<string, unknown> = {}) =>
  parseBuild({ id: 'b', state: 'running', started_at: '1970-01-01T00:00:01.000Z', ...over });
const step = (done: number, text: string) => build({ progress: { done, total: 3, step: text } });

describe('on a terminal', () => {
  it('has a line for each build that changes in its place', async () => {
    const { context, screen } = terminal(true);
    const view = createBuildView(context);
    await view.show('one', step(1, '[1/2] FROM'));
    await view.show('second', build({ state: 'queued', message: 'waits', started_at: undefined }));
    await view.show('one', step(2, '[2/2] RUN pip'));
    expect(screen()).toEqual(['one     running  4.00s  2/3  [2/2] RUN pip', 'second  queued  waits']);
    await view.note('one: there is no room');
    expect(screen()).toEqual([
      'one: there is no room',
      'one     running  4.00s  2/3  [2/2] RUN pip',
      'second  queued  waits',
    ]);
    await view.stop();
    expect(screen()).toEqual(['one: there is no room']);
  });

  it('shows the last lines of the log below, control characters as such', async () => {
    const { context, screen } = terminal(true);
    const view = createBuildView(context, 2);
    await view.show('', step(1, 'RUN'));
    await view.printed(['one', 'two']);
    await view.printed(['three\u001B[2J']);
    expect(screen()).toEqual(['running  4.00s  1/3  RUN', '  | two', String.raw`  | three\u001b[2J`]);
    await view.stop();
    expect(screen()).toEqual([]);
  });

  it('never has more lines than a terminal has', async () => {
    const { context, screen } = terminal(true);
    const view = createBuildView(context);
    for (let index = 0; index < 20; index += 1) await view.show(`s${index}`, build({ state: 'queued' }));
    await view.show('s19', build());
    expect(screen()).toHaveLength(13);
    expect(screen()[0]).toMatch(/^s19 {2}running/);
    expect(screen().at(-1)).toBe('… and 8 more');
  });
});

it('writes a line for each step elsewhere, and none twice', async () => {
  const { context, written } = terminal(false);
  const view = createBuildView(context, 5);
  await view.show('one', step(1, 'FROM'));
  await view.show('one', step(1, 'FROM'));
  await view.printed(['a line of the log']);
  await view.show('one', step(2, 'RUN'));
  await view.stop();
  expect(written()).toBe('one: running  1/3  FROM\none: running  2/3  RUN\n');
});

it('is silent for programs', async () => {
  const { context, written } = terminal(true, true);
  const view = createBuildView(context, 5);
  await view.show('one', step(1, 'FROM'));
  await view.note('x');
  await view.stop();
  expect(written()).toBe('');
});
