import { describe, expect, test } from 'vitest';
import type { ObjectHead } from '@sluice/shared/stores';
import { AppError } from '@sluice/shared/errors';
import { AttemptStop, outcomeOfError, stopForStore } from './attempt-stop.ts';
import { inputFileName } from './input-name.ts';
import { isLogged, logLine, logThreshold } from './log-line.ts';
import { createOutputTail } from './output-tail.ts';
import { stopForScript } from './script-end.ts';
import { printable } from './text.ts';
import { decideUpload, outputMetadata } from './upload-decision.ts';

describe('log lines', () => {
  test('look as those of OSCAR', () => {
    const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
    expect(logLine(at, 'INFO', 'hello')).toBe('2026-01-02 03:04:05,678 - supervisor - INFO - hello\n');
    expect(logLine(at, 'WARNING', 'a\nb\u{1b}[31m')).toBe(
      '2026-01-02 03:04:05,678 - supervisor - WARNING - a\\u000ab\\u001b[31m\n',
    );
  });

  test.each([
    ['INFO', undefined, 'INFO'],
    ['debug', undefined, 'DEBUG'],
    ['INFO', 'CRITICAL', 'CRITICAL'],
    ['ERROR', '', 'ERROR'],
    ['ERROR', 'verbose', 'ERROR'],
    ['constructor', undefined, 'INFO'],
    ['', undefined, 'INFO'],
  ])('definition %j and LOG_LEVEL %j: %s', (definition, variable, expected) => {
    expect(logThreshold(definition, variable)).toBe(expected);
  });

  test('levels', () => {
    expect(isLogged('DEBUG', 'NOTSET')).toBe(true);
    expect(isLogged('DEBUG', 'INFO')).toBe(false);
    expect(isLogged('ERROR', 'ERROR')).toBe(true);
    expect(isLogged('ERROR', 'CRITICAL')).toBe(false);
  });
});

describe('the last of the output', () => {
  const tailOf = (limits: { bytes: number; lines: number }, ...chunks: string[]): string => {
    const tail = createOutputTail(limits);
    for (const chunk of chunks) tail.add(Buffer.from(chunk));
    return tail.text();
  };

  test('is whole lines', () => {
    const limits = { bytes: 12, lines: 2 };
    expect(tailOf(limits)).toBe('');
    expect(tailOf(limits, 'one\n')).toBe('one');
    expect(tailOf(limits, 'one\ntwo\nthree\n')).toBe('two\nthree');
    expect(tailOf(limits, 'one\n', 'two', '\nthr', 'ee\n\n')).toBe('two\nthree');
    expect(tailOf(limits, 'a very long line without end')).toBe(' without end');
    expect(tailOf({ bytes: 100, lines: 2 }, 'a\nb\nc\n')).toBe('b\nc');
  });

  test('has no control characters', () => {
    expect(tailOf({ bytes: 100, lines: 5 }, '\u{1b}[31mred\u{1b}[0m\r\nbell\u{7}\ttab\0')).toBe(
      'red\nbell\ttab',
    );
  });

  test('cuts characters without breaking', () => {
    expect(tailOf({ bytes: 4, lines: 5 }, '€€')).toContain('€');
  });
});

describe('how a script ended', () => {
  const stop = (end: Parameters<typeof stopForScript>[0]) => stopForScript(end, 60_000, 'last');

  test('exit code 0 goes on', () => {
    expect(stop({ kind: 'exited', exitCode: 0 })).toBeUndefined();
  });

  test.each([
    [
      { kind: 'exited', exitCode: 3 },
      'script_failed',
      'the script ended with exit code 3; its last lines:\nlast',
      3,
    ],
    [{ kind: 'exited', exitCode: 137 }, 'script_failed', /exit code 137 .*out of memory/, 137],
    [{ kind: 'exited', exitCode: 127 }, 'script_failed', /not found/, 127],
    [{ kind: 'signalled', signal: 'SIGKILL' }, 'script_killed', /SIGKILL .*out of memory/, 137],
    [{ kind: 'signalled', signal: 'SIGSEGV' }, 'script_killed', /ended by SIGSEGV;/, 139],
    [{ kind: 'timed_out' }, 'timed_out', /^the script ran longer than 60 s and was ended/, undefined],
    [{ kind: 'cancelled' }, 'cancelled', 'cancelled', undefined],
  ] as const)('%j', (end, code, message, exitCode) => {
    expect(stop(end)).toMatchObject({ code, exitCode });
    expect(stop(end)?.message).toMatch(message);
  });
});

describe('outcomes of failures', () => {
  const so = { scriptStarted: true, exitCode: undefined, cancelled: false };

  test('a stop, with its verdict and exit code', () => {
    expect(outcomeOfError(new AttemptStop('script_failed', 'no', { exitCode: 3 }), so)).toEqual({
      result: 'failed',
      script_started: true,
      exit_code: 3,
      outputs: [],
      failure: { code: 'script_failed', message: 'no' },
    });
    const later = outcomeOfError(new AttemptStop('store_unavailable', 'away', { retryable: true }), so);
    expect(later).toMatchObject({ result: 'failed', retryable: true });
  });

  test('a wish to cancel goes before what it caused', () => {
    expect(outcomeOfError(new Error('aborted'), { ...so, cancelled: true })).toMatchObject({
      result: 'cancelled',
    });
  });

  test('a bug is worth another attempt', () => {
    expect(outcomeOfError(new TypeError('x is undefined'), so)).toMatchObject({
      result: 'failed',
      retryable: true,
      failure: { code: 'internal_error' },
    });
  });

  test.each([
    ['storage_full', 'storage_full', true],
    ['unavailable', 'store_unavailable', true],
    ['limit_reached', 'store_unavailable', true],
    ['not_found', 'output_failed', false],
    ['invalid_input', 'output_failed', false],
  ] as const)('a store that says %s', (code, expected, retryable) => {
    expect(stopForStore(new AppError(code, 'm'), 'output_failed', 'what')).toMatchObject({
      code: expected,
      retryable,
    });
  });
});

test.each([
  ['in/photo.jpg', 'photo.jpg'],
  ['photo.jpg', 'photo.jpg'],
  ['in/-rf', '-rf'],
  ['in/a\nb', 'a\nb'],
  ['in/folder/', 'folder'],
  ['in/..', 'input-file'],
  ['///', 'input-file'],
  ['in/a\0b', 'a_b'],
  [`in/${'x'.repeat(255)}`, 'x'.repeat(255)],
  [`in/${'x'.repeat(300)}.tar.gz`, `${'x'.repeat(252)}.gz`],
  [`in/${'€'.repeat(100)}`, '€'.repeat(85)],
])('the input file of %j', (key, name) => {
  expect(inputFileName(key)).toBe(name);
});

test('names in messages stay on one line', () => {
  expect(printable('a\nb\u{2028}c é')).toBe('a\\u000ab\\u2028c é');
});

describe('uploads', () => {
  const plan = { run_id: 'r1', hop: 2, traceparent: '00-a-b-01' };
  const input = { bucket: 'b', key: 'in/ü', lastModified: 1000 };
  const head = (metadata: Record<string, string>): ObjectHead => ({
    bucket: 'b',
    key: 'out/a',
    size: 1,
    etag: 'e',
    identity: 'i',
    lastModified: 1,
    changedAt: 1,
    contentType: '',
    metadata,
  });

  test('metadata', () => {
    expect(outputMetadata(plan, undefined, 'ff')).toEqual({
      'sluice-run': 'r1',
      'sluice-sha256': 'ff',
      'sluice-hop': '3',
      traceparent: '00-a-b-01',
    });
    expect(outputMetadata(plan, input, 'ff')).toMatchObject({
      'sluice-input': expect.stringMatching(/^[0-9a-f]{32}$/),
      'sluice-input-time': '1000',
    });
  });

  const wanted = outputMetadata(plan, input, 'ff');
  test('nothing there: create', () => {
    expect(decideUpload(undefined, wanted)).toEqual({ kind: 'create' });
  });

  test('the same run and bytes: keep; the same run and other bytes: replace', () => {
    expect(decideUpload(head({ ...wanted }), wanted)).toMatchObject({ kind: 'keep' });
    expect(decideUpload(head({ ...wanted, 'sluice-sha256': '00' }), wanted)).toEqual({
      kind: 'replace',
      etag: 'e',
    });
  });

  test.each([
    [{ 'sluice-input-time': '1001' }, 'superseded'],
    [{ 'sluice-input-time': '1000' }, 'replace'],
    [{ 'sluice-input-time': '999' }, 'replace'],
    [{ 'sluice-input-time': 'soon' }, 'replace'],
    [{ 'sluice-input-time': '1001', 'sluice-input': 'other' }, 'replace'],
  ])('of another run: %j', (change, kind) => {
    expect(decideUpload(head({ ...wanted, 'sluice-run': 'r2', ...change }), wanted).kind).toBe(kind);
  });

  test('a run without input replaces what is there', () => {
    const other = head({ 'sluice-run': 'r2', 'sluice-input-time': '5' });
    expect(decideUpload(other, outputMetadata(plan, undefined, 'ff')).kind).toBe('replace');
    expect(decideUpload(head({}), wanted).kind).toBe('replace');
  });
});
