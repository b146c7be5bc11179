import { integer, type ConfigOf } from '@sluice/shared/config';
import type { StorageEventsConfig } from './storage-events.ts';

/** Variables of storage-events. */
export const storageEventsVariables = {
  SLUICE_SETTLE_MS: integer({
    why: 'Milliseconds that a file in an input folder must stay the same before its run starts.',
    min: 10,
    max: 3_600_000,
    fallback: 1000,
  }),
  SLUICE_RECONCILE_INTERVAL: integer({
    why: 'Seconds between two listings of the input folders, which find what no notification told of; longer where a listing takes long.',
    min: 1,
    max: 86_400,
    fallback: 60,
  }),
  SLUICE_CLAIM_MARGIN: integer({
    why: 'Seconds that a file may be late: longer than the longest upload. Claims are kept at least twice as long.',
    min: 1,
    max: 31_536_000,
    fallback: 86_400,
  }),
};

/** The variables as the component takes them. */
export function storageEventsConfig(values: ConfigOf<typeof storageEventsVariables>): StorageEventsConfig {
  return {
    settleMs: values.SLUICE_SETTLE_MS,
    reconcileIntervalMs: values.SLUICE_RECONCILE_INTERVAL * 1000,
    marginMs: values.SLUICE_CLAIM_MARGIN * 1000,
  };
}
