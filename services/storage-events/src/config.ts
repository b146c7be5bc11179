import { integer, secret, text, type ConfigOf } from '@sluice/shared/config';
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

/** Variables of how an S3 server tells of new objects: by the bus, or by the webhook that puts them there. */
export const notifyVariables = {
  SLUICE_NOTIFY_SUBJECT: text({
    why: "Subject to which the S3 server's NATS target publishes bucket notifications.",
    fallback: 'sluice.storage.notification',
  }),
  SLUICE_NOTIFY_ARN: text({
    why: "The S3 server's name of the target that rules on buckets send notifications to; the target is configured once per server. none: no rules are set, and objects are found by the webhook and by listing.",
    fallback: 'arn:minio:sqs::SLUICE:nats',
  }),
  SLUICE_WEBHOOK_PORT: integer({
    why: 'Port that takes bucket notifications by HTTP (`POST /notify`), for S3 servers that cannot publish to NATS; none without SLUICE_WEBHOOK_TOKEN.',
    min: 1,
    max: 65_535,
    fallback: 8082,
  }),
  SLUICE_WEBHOOK_TOKEN: secret({
    why: 'Token that the S3 server sends to the webhook as `Authorization: Bearer` (MinIO: `auth_token`); without it there is no webhook.',
    fallback: undefined,
  }),
};
