import type { AttemptOutcome, Run } from '@sluice/shared/contracts';
import { expect, test } from 'vitest';
import { changeFor } from './settle.ts';

const run = (attempt: number): Run => ({
  id: 'demo-1',
  service: 'demo',
  service_uid: 'uid',
  state: 'starting',
  attempt,
  source: 'job',
  event: { kind: 'inline', encoding: 'utf8', data: '' },
  traceparent: '',
  hop: 0,
  created_at: 0,
  infra_failures: 0,
  script_failures: 0,
  timeline: [],
});
const lostBeforeStart: AttemptOutcome = { result: 'lost', script_started: false, outputs: [] };

test('an attempt that was lost before its script is repeated at once, then with growing pauses', () => {
  const pauses = [1, 2, 3, 8].map((attempt) => {
    const [message] = changeFor(run(attempt), lostBeforeStart, {}, 1000).publish ?? [];
    const payload = message?.payload as { attempt: number; not_before?: number };
    expect(payload.attempt).toBe(attempt + 1);
    return (payload.not_before ?? 1000) - 1000;
  });
  expect(pauses).toEqual([0, 1000, 2000, 60_000]);
});
