import { expect, test } from 'vitest';
import { urlFault, type RoutePlace } from './url-faults.ts';

const routes: readonly RoutePlace[] = [
  { method: 'GET', url: '/system/runs', wire: 'sluice' },
  { method: 'GET', url: '/system/runs/:id', wire: 'sluice' },
  { method: 'GET', url: '/system/logs/:service/:run', wire: 'oscar' },
  { method: 'DELETE', url: '/both/:id', wire: 'oscar' },
  { method: 'PUT', url: '/both/:name', wire: 'sluice' },
  { method: 'PUT', url: '/system/buckets/:bucket/objects/*', wire: 'sluice' },
];
const unreadable = 'must be percent-encoded UTF-8; write "%" itself as "%25"';

test.each([
  ['GET', '/system/runs/%zz', 'id', 'sluice', unreadable],
  ['GET', '/system/runs/%ff?x=%zz', 'id', 'sluice', unreadable],
  ['GET', '/system/runs/%zz/', 'id', 'sluice', unreadable],
  ['GET', '/system/logs/a/%E0%A4%A', 'run', 'oscar', unreadable],
  ['GET', '/system/logs/%/b', 'service', 'oscar', unreadable],
  ['PUT', '/both/%zz', 'name', 'sluice', unreadable],
  // A method that there is not: any route of the path will do.
  ['PATCH', '/both/%zz', 'id', 'oscar', unreadable],
  ['PUT', '/system/buckets/b/objects/in/%zz/x', 'key', 'sluice', unreadable],
  ['PUT', '/system/buckets/%zz/objects/in/x', 'bucket', 'sluice', unreadable],
  ['GET', `/system/runs/${'a'.repeat(513)}`, 'id', 'sluice', 'is longer than 512 characters'],
] as const)('%s %s is the fault of %s', (method, url, field, wire, says) => {
  const { error, ...fault } = urlFault({ method, url }, routes, 512);
  expect({ ...fault, field: error.field }).toEqual({ field, wire });
  expect(error.message).toBe(`${field}: ${says}`);
});

test('of a path that no route has, all is said of the path', () => {
  const { error, wire } = urlFault({ method: 'GET', url: '/no/%zz' }, routes, 512);
  expect(wire).toBe('oscar');
  expect(error).toMatchObject({ code: 'invalid_input', field: 'path', message: `the path: ${unreadable}` });
});
