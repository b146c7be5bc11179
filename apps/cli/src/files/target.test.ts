import { expect, it } from 'vitest';
import { allInputFolders, servicesFor } from './target.ts';

const services = [
  { name: 'plain', input: [{ storage_provider: 'minio.default', path: 'b/in' }] },
  { name: 'short', input: [{ storage_provider: 'MinIO', path: '/b/in/sub/' }] },
  {
    name: 'other',
    input: [
      { storage_provider: 'minio.elsewhere', path: 'b/in' },
      { storage_provider: 's3', path: 'b/in' },
    ],
  },
  { name: 'none', input: null },
];

it.each<[string, string, string[]]>([
  ['b', 'in/x', ['plain']],
  ['b', 'in/sub/x', ['plain', 'short']],
  ['b', 'inn/x', []],
  ['b', 'in', []],
  ['c', 'in/x', []],
])('for %s/%s run %j', (bucket, key, names) => {
  expect(servicesFor(services, bucket, key)).toEqual(names);
});

it('names every folder once', () => {
  expect(allInputFolders([...services, ...services])).toEqual(['b/in/', 'b/in/sub/']);
});
