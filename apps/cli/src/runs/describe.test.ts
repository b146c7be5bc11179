import { describe, expect, it } from 'vitest';
import { parseRun, type WireRun } from '../api/wire.ts';
import { createColors } from '../format/colors.ts';
import { failureText, runDuration, runText } from './describe.ts';

const plain = createColors(false);
const at = (ms: number): string => new Date(1_700_000_000_000 + ms).toISOString();

function run(over: object = {}): WireRun {
  return parseRun({ id: 'demo-1', service: 'demo', state: 'succeeded', attempt: 1, timeline: [], ...over });
}

describe('a run, for a person', () => {
  it('has its input, outputs and a time line relative to the first entry', () => {
    const text = runText(
      run({
        source: 'notification',
        input: { bucket: 'b', key: 'in/a\nb', size: 2048, etag: 'e' },
        outputs: [
          { bucket: 'b', key: 'out/1', size: 1, etag: 'e' },
          { bucket: 'b', key: 'out/2' },
        ],
        outputs_omitted: 3,
        created_at: at(0),
        started_at: at(10),
        finished_at: at(1510),
        exit_code: 0,
        trace_id: 't',
        timeline: [
          { at: at(0), state: 'queued', attempt: 1, message: 'accepted' },
          { at: at(10), state: 'running', attempt: 1 },
          { at: at(1510), state: 'succeeded', attempt: 1, message: 'done\nwith more' },
        ],
      }),
      1_700_000_060_000,
      plain,
    );
    expect(text.split('\n')).toEqual([
      'run        demo-1',
      'service    demo',
      'state      succeeded',
      'created    1m ago',
      'took       1.50s',
      'source     notification',
      String.raw`input      b/in/a\nb  (2.0 KiB)`,
      'output     b/out/1  (1 B)',
      '           b/out/2',
      '           … and 3 more',
      'exit code  0',
      'trace      t',
      '',
      '     +0ms  queued      accepted',
      '    +10ms  running',
      '   +1.51s  succeeded   done',
    ]);
  });

  it('numbers attempts where there were several, and says why it failed', () => {
    const lines = runText(
      run({
        state: 'failed',
        attempt: 2,
        retry_of: 'demo-0',
        failure: { code: 'timed_out', message: 'too slow' },
        timeline: [
          { at: at(0), state: 'queued', attempt: 1 },
          { at: at(5), state: 'failed', attempt: 2 },
        ],
      }),
      0,
      plain,
    ).split('\n');
    expect(lines).toContain('state      failed (attempt 2)');
    expect(lines).toContain('retry of   demo-0');
    expect(lines).toContain('failure    timed_out: too slow');
    expect(lines.slice(-2)).toEqual(['     +0ms  #1  queued', '     +5ms  #2  failed']);
  });
});

it.each<[object, string]>([
  [
    { state: 'failed', exit_code: 3, failure: { code: 'script_failed', message: 'it failed\nlast line' } },
    'exit code 3: it failed',
  ],
  [
    { state: 'failed', exit_code: 3, failure: { code: 'script_failed', message: 'ended with exit code 3' } },
    'ended with exit code 3',
  ],
  [
    {
      state: 'failed',
      exit_code: 2,
      failure: { code: 'script_failed', message: 'exit code 2; its last lines:\nno' },
    },
    'exit code 2',
  ],
  [{ state: 'failed', failure: { code: 'input_missing', message: '' } }, 'input_missing'],
  [{ state: 'failed', exit_code: 9 }, 'exit code 9'],
  [{ state: 'cancelled' }, 'cancelled'],
])('%j failed because of: %s', (over, text) => {
  expect(failureText(run(over))).toBe(text);
});

it('measures a run that goes on, and none that has not begun', () => {
  expect(runDuration(run({ started_at: at(0) }), 1_700_000_002_000)).toBe(2000);
  expect(runDuration(run(), 1)).toBeUndefined();
});

describe('a run on the wire', () => {
  it('may have more, and less, than this version knows', () => {
    const parsed = parseRun({
      id: 'x',
      service: 's',
      state: 'paused',
      input: null,
      outputs: null,
      timeline: [{}],
      new_field: 1,
    });
    expect(parsed).toMatchObject({ state: 'paused', attempt: 1, outputs: [], input: undefined });
  });

  it.each([
    [null],
    [[]],
    ['x'],
    [{}],
    [{ id: 1 }],
    [{ id: 'a', service: 'b' }],
    [{ id: 'a', service: 'b', state: 'c', outputs: {} }],
  ])('is not %j', (raw) => {
    expect(() => parseRun(raw)).toThrow("The server's answer is not understood");
  });
});
