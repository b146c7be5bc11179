import { AppError, type ErrorCode } from '@sluice/shared/errors';
import { describe, expect, test } from 'vitest';
import { isTag, readBuildStart, readCleanup, readEnsure } from './build-request.ts';

const base64 = (text: string | Uint8Array) => Buffer.from(text).toString('base64');
const body = { source: 'python:3.12', target: 'anna:tag', kind: 'python' };

function refusal(act: () => unknown): { readonly code: ErrorCode; readonly message: string } {
  try {
    act();
  } catch (error) {
    if (error instanceof AppError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('was not refused');
}
const refused = (value: unknown) => refusal(() => readBuildStart(value, 'anna'));
const wrong = (message: string) => ({ code: 'invalid_input', message });
const without = (name: string) => Object.fromEntries(Object.entries(body).filter(([key]) => key !== name));

describe('/build/start', () => {
  test('takes what the original takes, and Sluice’s additions', () => {
    expect(readBuildStart(body, 'anna')).toEqual(body);
    expect(readBuildStart({ ...body, target: 'anna', other: 1 }, 'anna').target).toBe('anna:latest');
    const more = { force: true, sbom: false, provenance: true, platforms: ['linux/amd64', 'linux/arm/v7'] };
    expect(readBuildStart({ ...body, ...more }, 'anna')).toEqual({ ...body, ...more });
    expect(readBuildStart({ ...body, force: null, platforms: null }, 'anna')).toEqual(body);
  });

  test('decodes the file, broken lines and a byte order mark included', () => {
    const text = '\uFEFFrequests==2.31.0\nänder\n';
    const encoded = base64(text).replaceAll(/.{8}/g, '$&\r\n');
    expect(readBuildStart({ ...body, file: encoded }, 'anna').file).toBe(text);
    expect(readBuildStart({ ...body, file: '' }, 'anna').file).toBe('');
  });

  test.each([
    [null, 'No JSON payload provided for build.'],
    [{}, 'No source provided for build.'],
    [[], 'No source provided for build.'],
    ['text', 'No source provided for build.'],
    [7, 'No source provided for build.'],
    [true, 'No source provided for build.'],
    [without('source'), 'No source provided for build.'],
    [without('target'), 'No target provided for build.'],
    [without('kind'), 'No kind provided for build.'],
    [{ ...body, target: 'bob:tag' }, 'Invalid target for the build.'],
    [{ ...body, target: 'Anna:tag' }, 'Invalid target for the build.'],
    [{ ...body, target: 'anna/x:tag' }, 'Invalid target for the build.'],
    [{ ...body, target: '' }, 'Invalid target for the build.'],
    [{ ...body, target: null }, 'Invalid target for the build.'],
    [{ ...body, target: ['anna'] }, 'Invalid target for the build.'],
  ])('%j is refused in the original’s words', (value, message) => {
    expect(refused(value)).toEqual(wrong(message));
  });

  test('checks in the original’s order: the owner comes before everything else', () => {
    expect(refused({ source: 1, target: 'bob', kind: 2, file: null })).toEqual(
      wrong('Invalid target for the build.'),
    );
    expect(refused({ target: 'bob' })).toEqual(wrong('No source provided for build.'));
  });

  test.each([
    'anna:',
    'anna:a b',
    'anna:a;rm',
    'anna:$(x)',
    'anna:a,name=bob',
    'anna:.a',
    'anna:a:b',
    'anna:a\n',
  ])('the tag of %j is refused', (target) => {
    expect(refused({ ...body, target }).message).toMatch(/^Invalid target for the build\. After "anna:"/);
  });

  test.each([null, 7, '', 'a b', 'python\nRUN x', 'a'.repeat(513)])('the source %j is refused', (source) => {
    expect(refused({ ...body, source }).message).toMatch(/^Invalid source for the build/);
  });

  test.each([null, 7, '', 'rust', 'python:3'])('the kind %j is refused', (kind) => {
    expect(refused({ ...body, kind }).message).toMatch(/^Invalid kind for the build/);
  });

  test.each([
    [null, 'Requirements file must be valid base64-encoded data'],
    [7, 'Requirements file must be valid base64-encoded data'],
    ['???', 'Requirements file must be valid base64-encoded data'],
    ['YWJj=', 'Requirements file must be valid base64-encoded data'],
    ['YW=j', 'Requirements file must be valid base64-encoded data'],
    ['YWJjZ', 'Requirements file must be valid base64-encoded data'],
    [base64(Uint8Array.of(0xc3, 0x28)), 'Requirements file must be valid UTF-8 text'],
  ])('the file %j is refused', (file, message) => {
    expect(refused({ ...body, file })).toEqual(wrong(message));
  });

  test('a file that is too large says so, at the limit and not before', () => {
    const large = (message: string) => ({ code: 'too_large', message });
    expect(refused({ ...body, file: 'A'.repeat(10_000_001) })).toEqual(
      large('Requirements file too large (max 10MB base64-encoded)'),
    );
    expect(refused({ ...body, file: base64('a'.repeat(5_000_001)) })).toEqual(
      large('Decoded requirements file too large (max 5MB)'),
    );
    const fits = 'a'.repeat(5_000_000);
    expect(readBuildStart({ ...body, file: base64(fits) }, 'anna').file).toBe(fits);
    // Characters are counted, not units of UTF-16, of which these have two.
    const emoji = '😀'.repeat(1_000_000);
    expect(
      readBuildStart({ ...body, file: base64(emoji + 'a'.repeat(3_300_000)) }, 'anna').file,
    ).toHaveLength(5_300_000);
  });

  test.each([
    [{ force: 'yes' }, 'force must be true or false.'],
    [{ sbom: 1 }, 'sbom must be true or false.'],
    [{ platforms: 'linux/amd64' }, 'platforms must be a list'],
    [{ platforms: ['linux'] }, 'platforms must be a list'],
    [{ platforms: ['linux/amd64,type=local'] }, 'platforms must be a list'],
    [{ platforms: Array.from({ length: 9 }, () => 'linux/amd64') }, 'platforms must be a list'],
  ])('%j is refused', (extra, message) => {
    expect(refused({ ...body, ...extra }).message).toContain(message);
  });
});

describe('/build/cleanup', () => {
  const hour = 3_600_000;
  test.each([
    [{}, 24 * hour],
    [{ max_age_hours: 1 }, hour],
    [{ max_age_hours: '24' }, 24 * hour],
    [{ max_age_hours: ' +1_0 ' }, 10 * hour],
    [{ max_age_hours: 1.9 }, hour],
    [{ max_age_hours: -1.9 }, -hour],
    [{ max_age_hours: true }, hour],
    [{ max_age_hours: false }, 0],
    [{ max_age_hours: '-3' }, -3 * hour],
    [{ max_age_hours: 1e300 }, Number.MAX_SAFE_INTEGER],
    [{ max_age_hours: -1e300 }, -Number.MAX_SAFE_INTEGER],
  ])('%j is %d ms', (value, ms) => {
    expect(readCleanup(value)).toBe(ms);
  });

  test.each([null, [], 'x', 7])('the body %j is none', (value) => {
    expect(refusal(() => readCleanup(value))).toEqual(wrong('No JSON payload provided for cleanup.'));
  });

  test.each([null, 'x', '', '1.5', '1__0', [], {}])('max_age_hours %j is refused', (hours) => {
    expect(refusal(() => readCleanup({ max_age_hours: hours })).message).toMatch(/^Invalid max_age_hours/);
  });
});

describe('/build/ensure', () => {
  const builders = [{ id: 'python' }, { id: 'nodejs-24' }];
  const refusedEnsure = (value: unknown) => refusal(() => readEnsure(value, builders)).message;

  test('takes a builder and a file', () => {
    const value = { builder: 'nodejs-24', file: base64('{}') };
    expect(readEnsure(value, builders)).toEqual({ builder: 'nodejs-24', file: '{}', retry: true });
    expect(readEnsure({ ...value, retry: false }, builders).retry).toBe(false);
    const most = 'a'.repeat(524_288);
    expect(readEnsure({ ...value, file: base64(most) }, builders).file).toBe(most);
  });

  test.each([
    [null, 'No JSON payload provided'],
    [[], 'No JSON payload provided'],
    [{ file: base64('a') }, 'Unknown builder: '],
    [{ builder: 'rust', file: base64('a') }, 'Unknown builder: rust'],
    [{ builder: 7, file: base64('a') }, 'Unknown builder'],
    [{ builder: 'python' }, 'Build file must be a non-empty base64 string'],
    [{ builder: 'python', file: '' }, 'Build file must be a non-empty base64 string'],
    [{ builder: 'python', file: null }, 'Build file must be a non-empty base64 string'],
    [{ builder: 'python', file: '?' }, 'Build file must be valid base64-encoded UTF-8 text'],
    [
      { builder: 'python', file: base64(Uint8Array.of(0xff)) },
      'Build file must be valid base64-encoded UTF-8 text',
    ],
    [{ builder: 'python', file: 'A'.repeat(750_001) }, 'Build file is too large'],
    [{ builder: 'python', file: base64('a'.repeat(524_289)) }, 'Decoded build file is too large'],
    [{ builder: 'python', file: base64('a'), retry: 'no' }, 'retry must be true or false.'],
  ])('refuses %#', (value, message) => {
    expect(refusedEnsure(value)).toContain(message);
  });
});

test('a tag is what a registry takes', () => {
  expect(['latest', '_a', '1.2-3', 'a'.repeat(128)].map((tag) => isTag(tag))).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(['', '-a', '.a', 'a/b', 'ä', 'a'.repeat(129)].map((tag) => isTag(tag))).toEqual([
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
});
