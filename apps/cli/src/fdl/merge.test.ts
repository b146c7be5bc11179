import { expect, it } from 'vitest';
import { mergeFdls } from './merge.ts';
import type { Fdl } from './parse.ts';

const fdl = (file: string, ...services: [cluster: string, name: string][]): Fdl => ({
  warnings: [],
  services: services.map(([cluster, name], index) => ({
    file,
    line: index + 3,
    column: 5,
    path: `functions.oscar[${index}].${cluster}`,
    document: { name, cluster_id: cluster, script: 'true' },
  })),
});

const names = (fdls: Fdl[], cluster?: string): string[] =>
  mergeFdls(fdls, cluster).map(({ document }) => `${document.cluster_id}/${document.name}`);

it('joins the services of several files', () => {
  expect(names([fdl('a', ['x', 'one']), fdl('b', ['x', 'two'], ['y', 'three'])])).toEqual([
    'x/one',
    'x/two',
    'y/three',
  ]);
});

it('takes the services of one cluster', () => {
  const both = fdl('a', ['x', 'one'], ['y', 'one']);
  expect(names([both], 'y')).toEqual(['y/one']);
  expect(names([both], 'z')).toEqual([]);
});

it('refuses two services of one name', () => {
  expect(() => names([fdl('a', ['x', 'one']), fdl('b', ['x', 'one'])])).toThrow(
    'b:3:5: functions.oscar[0].x: the service "one" is already at a:3:5',
  );
  expect(() => names([fdl('a', ['x', 'one'], ['y', 'one'])])).toThrow('choose one with --cluster');
});
