import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { filesOf, scriptBench, shells } from '../../support/run-script.ts';

const here = fileURLToPath(new URL('..', import.meta.url));
const HEADER = 'time,station,temperature\n';

const expected = async (ending: string) =>
  Object.fromEntries(
    Object.entries(await filesOf(join(here, 'expected'))).filter(([name]) => name.endsWith(ending)),
  );

describe.each(shells())('pipeline-split under $name', (shell) => {
  const bench = () => scriptBench(join(here, 'split.sh'), shell);

  test('gives the expected bytes for the sample', async () => {
    await using b = await bench();
    const { status, stdout, stderr, outputs } = await b.run(join(here, 'samples/readings.csv'));
    expect([status, stderr]).toEqual([0, '']);
    expect(outputs).toEqual(await expected('.csv'));
    expect(stdout.split('\n').filter(Boolean)).toEqual(Object.keys(outputs));
  });

  test('keeps the order of rows, takes the column by its name, skips empty lines, reads Windows files', async () => {
    await using b = await bench();
    const { status, outputs } = await b.runOn(
      'x.csv',
      '\uFEFFvalue, station\r\n2,b\r\n\r\n10,a\r\n1,b \r\n3,b',
    );
    expect(status).toBe(0);
    expect(outputs).toEqual({
      'x-a.csv': 'value, station\n10,a\n',
      'x-b.csv': 'value, station\n2,b\n1,b \n3,b\n',
    });
  });

  test('makes file names out of any station name', async () => {
    await using b = await bench();
    const stations = [
      '../../etc/passwd',
      'north quay',
      '-rf',
      '.',
      'Zürich',
      '$(id)',
      "o'hara",
      '*',
      'back\\slash',
    ];
    const { status, outputs } = await b.runOn(
      '-o x.csv',
      HEADER + stations.map((s) => `t,${s},1\n`).join(''),
    );
    expect(status).toBe(0);
    expect(Object.keys(outputs).sort()).toEqual(
      ['.._.._etc_passwd', 'north_quay', '-rf', '.', 'Zürich', '__id_', 'o_hara', '_', 'back_slash']
        .map((station) => `-o x-${station}.csv`)
        .sort(),
    );
    expect(outputs['-o x-back_slash.csv']).toBe(`${HEADER}t,back\\slash,1\n`);
  });

  test('splits into hundreds of parts', async () => {
    await using b = await bench();
    const rows = Array.from({ length: 1200 }, (_, index) => `t${index},s${index % 400},${index}\n`);
    const { status, outputs } = await b.runOn('many.csv', HEADER + rows.join(''));
    expect([status, Object.keys(outputs).length]).toEqual([0, 400]);
    expect(outputs['many-s399.csv']).toBe(`${HEADER}t399,s399,399\nt799,s399,799\nt1199,s399,1199\n`);
  });

  test('has nothing to do for a header alone', async () => {
    await using b = await bench();
    expect(await b.runOn('x.csv', HEADER)).toEqual({
      status: 0,
      stdout: 'no readings\n',
      stderr: '',
      outputs: {},
    });
  });

  test('splits by another column', async () => {
    await using b = await bench();
    const { outputs } = await b.runOn('x.csv', `${HEADER}t1,a,1\nt1,b,2\n`, { GROUP_COLUMN: 'time' });
    expect(Object.keys(outputs)).toEqual(['x-t1.csv']);
  });

  test.each([
    ['an empty file', '', {}, 3, /the file is empty: a header line is needed/],
    ['no such column', 'a,b\n1,2\n', {}, 3, /line 1: there is no column "station" in the header/],
    ['a short row', `${HEADER}t,a,1\nt,a\n`, {}, 3, /line 3: it has 2 fields, the header has 3/],
    ['quotes', `${HEADER}t,"a",1\n`, {}, 3, /line 2: quoted fields are not supported/],
    ['a row without a station', `${HEADER}t, ,1\n`, {}, 3, /line 2: it has no station/],
    [
      'stations that differ in signs only',
      `${HEADER}t,a b,1\nt,a_b,1\n`,
      {},
      3,
      /"a_b" and "a b" would share a file/,
    ],
    [
      'too many stations',
      `${HEADER}t,a,1\nt,b,1\n`,
      { MAX_GROUPS: '1' },
      3,
      /more than 1 stations \(MAX_GROUPS\)/,
    ],
    ['a wrong limit', HEADER, { MAX_GROUPS: '0' }, 2, /MAX_GROUPS must be a whole number/],
    [
      'a station with too long a name',
      `${HEADER}t,${'n'.repeat(250)},1\n`,
      {},
      3,
      /line 2: the name of its part/,
    ],
  ])('refuses %s and leaves nothing behind', async (_what, content, env, code, message) => {
    await using b = await bench();
    const { status, stderr, outputs } = await b.runOn('x.csv', content, env);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^pipeline-split: .*\n$/);
    expect([status, outputs]).toEqual([code, {}]);
  });

  test('sweeps away what a killed run left in the folder', async () => {
    await using b = await bench();
    const left = join(b.folder, 'out', '.pipeline-split');
    await mkdir(left, { recursive: true });
    await writeFile(join(left, 'part.7'), 'old\n');
    const outputDir = join(b.folder, 'out');
    const { status } = await b.runOn('x.csv', `${HEADER}t,a,1\n`, { TMP_OUTPUT_DIR: outputDir });
    expect([status, await filesOf(outputDir)]).toEqual([0, { 'x-a.csv': `${HEADER}t,a,1\n` }]);
  });
});

describe.each(shells())('pipeline-report under $name', (shell) => {
  const bench = () => scriptBench(join(here, 'report.sh'), shell);
  const reportOf = (outputs: Readonly<Record<string, string>>) =>
    JSON.parse(outputs['x-report.json'] ?? '') as Record<string, unknown>;

  test('gives the expected bytes for each part of the sample', async () => {
    await using b = await bench();
    const reports: Record<string, string> = {};
    for (const part of Object.keys(await expected('.csv'))) {
      const { status, stderr, outputs } = await b.run(join(here, 'expected', part));
      expect([status, stderr]).toEqual([0, '']);
      Object.assign(reports, outputs);
    }
    expect(reports).toEqual(await expected('.json'));
  });

  test('counts what is missing apart, takes the first of equals, rounds the mean', async () => {
    await using b = await bench();
    const { outputs } = await b.runOn('x.csv', `${HEADER}t1,a,2\nt2,a,\nt3,a,-1\r\nt4,a, 2 \nt5,a,-1\n`);
    expect(reportOf(outputs)).toEqual({
      station: 'a',
      column: 'temperature',
      readings: 4,
      missing: 1,
      min: -1,
      min_at: 't3',
      max: 2,
      max_at: 't1',
      mean: 0.5,
    });
  });

  test('reports on no readings at all', async () => {
    await using b = await bench();
    for (const [content, station, missing] of [
      [HEADER, null, 0],
      [`${HEADER}t,a,\n`, 'a', 1],
    ] as const) {
      const { status, outputs } = await b.runOn('x.csv', content);
      expect(status).toBe(0);
      expect(reportOf(outputs)).toMatchObject({
        station,
        missing,
        readings: 0,
        min: null,
        max: null,
        mean: null,
      });
    }
  });

  test('writes JSON whatever the names hold', async () => {
    await using b = await bench();
    const { outputs } = await b.runOn('x.csv', 'when,who,a\\b\n1\t2,back\\slash\\,1e2\n', {
      GROUP_COLUMN: 'who',
      TIME_COLUMN: 'when',
      VALUE_COLUMN: 'a\\b',
    });
    expect(reportOf(outputs)).toMatchObject({
      station: 'back\\slash\\',
      column: 'a\\b',
      max: 100,
      max_at: '1 2',
    });
  });

  test.each(['+4.50', '.5', '5.', '1e-3', '-0.0', '007'])('reads %s as a number', async (text) => {
    await using b = await bench();
    const { status, outputs } = await b.runOn('x.csv', `${HEADER}t,a,${text}\n`);
    expect(status).toBe(0);
    expect(reportOf(outputs)['max']).toBeCloseTo(Number(text), 9);
  });

  test.each(['warm', '1.2.3', '0x10', 'nan', 'inf', '1e999', '-', '9'.repeat(41)])(
    'refuses %s',
    async (text) => {
      await using b = await bench();
      const { status, stderr, outputs } = await b.runOn('x.csv', `${HEADER}t,a,1\nt,a,${text}\n`);
      expect([status, outputs]).toEqual([3, {}]);
      expect(stderr).toBe(`pipeline-report: line 3: "${text}" is not a number\n`);
    },
  );

  test.each([
    ['an empty file', '', /the file is empty/],
    ['another table', 'a,b\n1,2\n', /line 1: there is no column "station"/],
    ['two stations in one part', `${HEADER}t,a,1\nt,b,1\n`, /line 3: it is of "b", the lines before of "a"/],
    ['a long row', `${HEADER}t,a,1,1\n`, /line 2: it has 4 fields, the header has 3/],
    ['quotes', `${HEADER}"t",a,1\n`, /line 2: quoted fields are not supported/],
  ])('refuses %s and leaves nothing behind', async (_what, content, message) => {
    await using b = await bench();
    const { status, stderr, outputs } = await b.runOn('x.csv', content);
    expect(stderr).toMatch(message);
    expect([status, outputs]).toEqual([3, {}]);
  });
});
