import { expect, test } from 'vitest';
import { cookieName, serviceCookie, tokenCandidates } from './service-cookie.ts';

const [bearer, query, uri, cookie] = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(64));
const nothing = { authorization: undefined, query: undefined, forwardedUri: undefined, cookie: undefined };

test('names and cookies', () => {
  expect(cookieName('my-own-service')).toBe('oscar_service_my_own_service_auth');
  expect(serviceCookie('my-x', 't', false)).toBe(
    'oscar_service_my_x_auth=t; Path=/system/services/my-x/exposed; HttpOnly; SameSite=Lax',
  );
  expect(serviceCookie('x', 't', true)).toMatch(/; SameSite=Lax; Secure$/);
});

test('all places, in order', () => {
  const sources = {
    authorization: undefined,
    query,
    forwardedUri: `/system/services/x/exposed/?a=1&token=${uri}`,
    cookie: `other=1; oscar_service_x_auth=${cookie}; more=2`,
  };
  expect(tokenCandidates('x', sources)).toEqual([query, uri, cookie]);
  expect(tokenCandidates('x', { ...sources, authorization: `Bearer ${bearer}` })).toEqual([bearer]);
  // A bearer of another kind keeps them out, too.
  expect(tokenCandidates('x', { ...sources, authorization: 'Bearer eyJ' })).toEqual([]);
});

test.each([
  { query: 'short' },
  { query: 'x'.repeat(65) },
  { forwardedUri: `/x?tokens=${query}` },
  { forwardedUri: `/${query}` },
  { forwardedUri: '%%%?token=%' },
  { cookie: `oscar_service_y_auth=${query}` },
  { cookie: `xoscar_service_x_auth=${query}` },
  { cookie: ';;=;' },
])('%j holds none', (sources) => {
  expect(tokenCandidates('x', { ...nothing, ...sources })).toEqual([]);
});
