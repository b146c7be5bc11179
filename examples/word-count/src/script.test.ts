import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { filesOf, scriptBench, shells } from '../../support/run-script.ts';

const here = fileURLToPath(new URL('..', import.meta.url));
const script = join(here, 'script.sh');

/** The lines of a table, in its order. */
const table = (...rows: readonly (readonly [string, number])[]) =>
  rows.map(([word, count]) => `${word}\t${count}\n`).join('');

describe.each(shells())('word-count under $name', (shell) => {
  const bench = () => scriptBench(script, shell);

  test('gives the expected bytes for the sample', async () => {
    await using b = await bench();
    const { status, stdout, stderr, outputs } = await b.run(join(here, 'samples/harbour.txt'));
    expect([status, stderr]).toEqual([0, '']);
    expect(outputs).toEqual(await filesOf(join(here, 'expected')));
    expect(stdout).toBe(outputs['harbour-summary.txt']);
  });

  test('counts an empty file', async () => {
    await using b = await bench();
    const { status, outputs } = await b.runOn('nothing.txt', '');
    expect(status).toBe(0);
    expect(outputs).toEqual({
      'nothing.tsv': '',
      'nothing-summary.txt':
        'file: nothing.txt\nbytes: 0\nlines: 0\nwords: 0\ndifferent words: 0\nmost frequent: none\n',
    });
  });

  test('counts most frequent first, then in byte order', async () => {
    await using b = await bench();
    const { outputs } = await b.runOn('a.txt', 'b a c b\nB a 10 9\n');
    expect(outputs['a.tsv']).toBe(table(['b', 3], ['a', 2], ['10', 1], ['9', 1], ['c', 1]));
  });

  test('reads Windows line ends, a missing last line end and a byte order mark', async () => {
    await using b = await bench();
    const { outputs } = await b.runOn('dos.txt', '\uFEFFone two\r\ntwo\r\nthree');
    expect(outputs['dos.tsv']).toBe(table(['two', 2], ['one', 1], ['three', 1]));
    expect(outputs['dos-summary.txt']).toContain('\nlines: 3\nwords: 4\n');
  });

  test('keeps letters of all scripts, takes curly quotes and dashes for what they are', async () => {
    await using b = await bench();
    const text = "Straße – “naïve” straße…\u00A0«été» don’t don't ‘so’ well-known -x- 東京。東京 Ωmega";
    const { outputs } = await b.runOn('unicode.txt', text);
    expect(outputs['unicode.tsv']).toBe(
      table(
        ["don't", 2],
        ['straße', 2],
        ['東京', 2],
        ['naïve', 1],
        ['so', 1],
        ['well-known', 1],
        ['x', 1],
        ['été', 1],
        ['Ωmega', 1],
      ),
    );
  });

  test('survives bytes that are not UTF-8 and a word of 100,000 letters', async () => {
    await using b = await bench();
    const { status, outputs } = await b.runOn(
      'odd.txt',
      Buffer.concat([Buffer.from([0xff, 0xfe, 0x20, 0xc3, 0x20]), Buffer.from('a'.repeat(100_000))]),
    );
    expect(status).toBe(0);
    expect(outputs['odd-summary.txt']).toContain('\nwords: 103\ndifferent words: 4\n');
  });

  test.each([
    ['two words.txt', 'two words'],
    ['-n', '-n'],
    ['--help.txt', '--help'],
    ['.notes', '.notes'],
    ['no ending', 'no ending'],
    ['a.b.txt', 'a.b'],
    ['$(id) `id` "q" \'q\' * %s \\n.txt', '$(id) `id` "q" \'q\' * %s \\n'],
    ['über.txt', 'über'],
    ['x=1.txt', 'x=1'],
  ])('copes with the name %j', async (file, name) => {
    await using b = await bench();
    const { status, stderr, outputs } = await b.runOn(file, 'word\n');
    expect([status, stderr]).toEqual([0, '']);
    expect(Object.keys(outputs).sort()).toEqual([`${name}-summary.txt`, `${name}.tsv`].sort());
    expect(outputs[`${name}-summary.txt`]?.split('\n', 1)).toEqual([`file: ${file}`]);
  });

  test('keeps the summary in shape when the name has a line end in it', async () => {
    await using b = await bench();
    const { outputs } = await b.runOn('two\nlines.txt', 'word');
    expect(outputs['two\nlines-summary.txt']).toMatch(/^file: two\?lines\.txt\nbytes: 4\n/);
  });

  test('gives the same again over its own outputs', async () => {
    await using b = await bench();
    const again = { TMP_OUTPUT_DIR: b.folder };
    const first = await b.runOn('same.txt', 'once more once', again);
    const second = await b.runOn('same.txt', 'once more once', again);
    expect([first.status, second.status, second.stdout]).toEqual([0, 0, first.stdout]);
  });

  test.each([
    [
      'a file with NUL bytes',
      Buffer.from('a\0b'),
      {},
      3,
      /"input\.txt" is not a text file: it has NUL bytes/,
    ],
    ['too many different words', 'a b c', { WORD_COUNT_MAX: '2' }, 3, /more than 2 different words/],
    ['a wrong limit', 'a', { WORD_COUNT_MAX: 'ten' }, 2, /WORD_COUNT_MAX must be a whole number/],
    ['no output folder', 'a', { TMP_OUTPUT_DIR: '/nowhere' }, 1, /no folder for the output/],
  ])('fails on %s and leaves nothing behind', async (_what, content, env, code, message) => {
    await using b = await bench();
    const { status, stderr, outputs } = await b.runOn('input.txt', content, env);
    expect(stderr).toMatch(message);
    expect([status, outputs]).toEqual([code, {}]);
  });

  test('accepts exactly as many different words as the limit says', async () => {
    await using b = await bench();
    expect((await b.runOn('input.txt', 'a b a', { WORD_COUNT_MAX: '2' })).status).toBe(0);
  });

  test('fails on a name that leaves no room and on a folder', async () => {
    await using b = await bench();
    const long = await b.runOn('n'.repeat(244), 'a');
    expect([long.status, long.outputs]).toEqual([2, {}]);
    expect(long.stderr).toMatch(/too long/);
    expect((await b.run(b.folder)).status).toBe(3);
  });
});
