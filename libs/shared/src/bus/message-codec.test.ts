import { describe, expect, it } from 'vitest';
import {
  catalogue,
  type MessageName,
  type Run,
  runChangedMessage,
  runStartMessage,
} from '../contracts/index.ts';
import { newRun } from '../testing/run-ledger-harness.ts';
import { createMessageCodec } from './message-codec.ts';
import type { OutgoingMessage } from './port.ts';

const codec = createMessageCodec();
const run: Run = {
  ...newRun(),
  state: 'failed',
  attempt: 1,
  created_at: 1,
  infra_failures: 0,
  script_failures: 0,
  timeline: [],
};
const failed: Run = { ...run, exit_code: 1, failure: { code: 'script_failed', message: 'exit 1' } };

const samples: readonly OutgoingMessage[] = [
  runStartMessage(run),
  runStartMessage(run, 1000),
  runChangedMessage(run, 1),
  runChangedMessage(failed, 1),
  { id: 'c', name: 'runs.cancel', key: 's', payload: { run_id: 'r', service: 's', reason: 'asked' } },
  {
    id: 'b',
    name: 'backfills.start',
    key: 's',
    payload: { backfill_id: 'b', service: 's', service_uid: 'u', prefix: '', again: false },
  },
  { id: 'n', name: 'storage.notify', payload: { Records: [{ s3: {} }], EventName: 's3:ObjectCreated:Put' } },
];

describe('payloads', () => {
  it.each(samples)('of $name go into JSON and back', (message) => {
    expect(codec.decode(message.name, codec.encode(message))).toEqual(message.payload);
  });

  it.each(samples.filter(({ name }) => name !== 'storage.notify'))(
    'of $name carry no field of their own',
    (message) => {
      const payload = { ...(message.payload as object), surprise: 1 };
      expect(() => codec.encode({ ...message, payload })).toThrow(
        expect.objectContaining({
          code: 'invalid_input',
          message: expect.stringContaining('surprise') as string,
        }) as Error,
      );
      // A newer writer may know more.
      expect(codec.decode(message.name, JSON.stringify(payload))).toEqual(payload);
    },
  );

  it('are refused by the field at fault, however deep', () => {
    const failure = { code: 'c', message: 'm', secret: 'x' };
    const message = runChangedMessage({ ...failed, failure }, 1);
    expect(() => codec.encode(message)).toThrow(expect.objectContaining({ code: 'invalid_input' }) as Error);
    expect(() => codec.decode('runs.start', '{"run_id":"r","service":7,"attempt":1}')).toThrow(
      /service must be string/,
    );
    expect(() => codec.decode('runs.start', 'nonsense')).toThrow(/not JSON/);
  });

  it('of every message in the catalogue can be checked', () => {
    for (const name of Object.keys(catalogue) as MessageName[]) {
      if (name === 'storage.notify') continue;
      expect(() => codec.decode(name, '7')).toThrow(
        expect.objectContaining({ code: 'unprocessable' }) as Error,
      );
    }
  });
});
