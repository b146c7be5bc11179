import { hostname, tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { readMachine } from './machine.ts';

test('this machine, never more in use than runs may have', async () => {
  const facts = await readMachine(
    { cpuMillis: 10, memoryBytes: 1000 },
    { cpuMillis: 5, memoryBytes: 700 },
    tmpdir(),
  );
  expect(facts).toMatchObject({
    name: hostname(),
    ready: true,
    cpuMillis: { capacity: 10, requested: 5 },
    // A thousand bytes are in use anywhere.
    memoryBytes: { capacity: 1000, used: 1000, requested: 700 },
  });
  expect(facts.cpuMillis.used).toBeGreaterThanOrEqual(0);
  expect(facts.cpuMillis.used).toBeLessThanOrEqual(10);
  expect(facts.conditions.map(({ type }) => type)).toEqual(['MemoryPressure', 'DiskPressure', 'Ready']);
});

test('a data folder that is gone is no silent zero', async () => {
  const none = { cpuMillis: 0, memoryBytes: 0 };
  await expect(readMachine(none, none, '/nowhere/at/all')).rejects.toThrow('ENOENT');
});
