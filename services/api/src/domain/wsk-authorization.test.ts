import { describe, expect, test } from 'vitest';
import { readWskAuthorization } from './wsk-authorization.ts';

const uuid = '23bc46b1-71f6-4ed5-8c54-816aa4f8c502';
const key = '123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP';
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('an OpenServerless token', () => {
  test.each([
    ['as it is', `${uuid}:${key}`],
    ['as base64', base64(`${uuid}:${key}`)],
    ['as base64 behind Basic', `Basic ${base64(`${uuid}:${key}`)}`],
    ['as it is behind Basic', `Basic ${uuid}:${key}`],
    ['behind a scheme of other letters', `bASIC ${uuid}:${key}`],
    ['with spaces around', `  Basic   ${base64(`${uuid}:${key}`)} `],
    ['as base64 without its padding', base64(`${uuid}:${key}`).replace(/=+$/, '')],
  ])('%s is read', (_name, header) => {
    expect(readWskAuthorization(header)).toEqual({ uuid, key });
  });

  test('has its halves percent-decoded, in every spelling', () => {
    const pair = { uuid: 'anna:1', key: 'ä b+%zz' };
    const text = 'anna%3a1:%C3%A4%20b+%zz';
    expect(readWskAuthorization(text)).toEqual(pair);
    expect(readWskAuthorization(`Basic ${base64(text)}`)).toEqual(pair);
  });

  test('that looks like base64 and has one colon is no base64', () => {
    expect(readWskAuthorization('YTpi:YTpi')).toEqual({ uuid: 'YTpi', key: 'YTpi' });
  });

  test.each([
    ['nothing', ''],
    ['spaces', '   '],
    ['another scheme', `Bearer ${base64(`${uuid}:${key}`)}`],
    ['three parts', `Basic ${uuid} ${key}`],
    ['a scheme alone', 'Basic'],
    ['no colon', 'abc'],
    ['two colons', 'a:b:c'],
    ['two colons in base64', base64('a:b:c')],
    ['an empty uuid', ':key'],
    ['an empty key', 'uuid:'],
    ['an empty key in base64', `Basic ${base64('uuid:')}`],
    ['base64 of no UTF-8', Buffer.from([0xff, 0xfe, 0x3a, 0x61]).toString('base64')],
    ['noise', 'Basic \u00ff\u0000'],
  ])('of %s is none', (_name, header) => {
    expect(readWskAuthorization(header)).toBeUndefined();
  });
});
