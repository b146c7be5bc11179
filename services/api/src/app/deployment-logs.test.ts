import type { RunnerState } from '@sluice/shared/contracts';
import { expect, test } from 'vitest';
import { parseTailLines, readDeploymentLogs } from './deployment-logs.ts';

const service = { name: 'demo', uid: 'u' };
const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const runnersWith = (state: RunnerState['runners'][number]['state']): RunnerState => ({
  service: 'demo',
  service_uid: 'u',
  state: 'ready',
  reason: '',
  desired: 1,
  limit: 1,
  runners: [{ id: 'a', state, url: 'http://127.0.0.1:1', service_version: 1 }],
  since: at,
});
const read = async (
  state: RunnerState['runners'][number]['state'],
  logs: { asked: number; silent: number; messages: string[] },
  timestamps = false,
) =>
  readDeploymentLogs(
    service,
    { timestamps, tail: 10 },
    {
      runnersOf: () => runnersWith(state),
      logs: async () => ({
        ...logs,
        entries: logs.messages.map((message, index) => ({ at: at + index * 1000, message })),
      }),
    },
  );

test.each([
  ['', 200],
  ['junk', 200],
  ['0', 200],
  ['-5', 200],
  ['1.5', 200],
  ['1e3', 200],
  ['1', 1],
  ['+7', 7],
  ['1000', 1000],
  ['1001', 1000],
  ['99999999999999999999', 200],
])('tailLines=%j is %d', (text, lines) => {
  expect(parseTailLines(text)).toBe(lines);
});

test('lines of a living runner, with times in whole seconds where they are wanted', async () => {
  const logs = { asked: 1, silent: 0, messages: ['one', 'two'] };
  expect(await read('ready', logs)).toEqual({
    service_name: 'demo',
    available: true,
    entries: [{ message: 'one' }, { message: 'two' }],
  });
  expect((await read('ready', logs, true)).entries).toEqual([
    { timestamp: '2026-01-02T03:04:05Z', message: 'one' },
    { timestamp: '2026-01-02T03:04:06Z', message: 'two' },
  ]);
});

test('lines of runners that have ended say so', async () => {
  expect(await read('ended', { asked: 1, silent: 0, messages: ['one'] })).toEqual({
    service_name: 'demo',
    available: true,
    message:
      'Returning recent logs from the last runtime attempt while deployment status remains unavailable.',
    entries: [{ message: 'one' }],
  });
});

test.each([
  [0, 0, 'Deployment logs are unavailable for this service.'],
  [2, 2, 'Deployment logs are unavailable for this service.'],
  [2, 1, 'Deployment logs are not yet available.'],
])('%d runners, %d of them silent, no line', async (asked, silent, message) => {
  expect(await read('ready', { asked, silent, messages: [] })).toEqual({
    service_name: 'demo',
    available: false,
    message,
    entries: [],
  });
});
