import { createObjectRunLogs } from '../../src/adapters/object-run-logs.ts';
import { systemClock } from '../../src/lifecycle/index.ts';
import { SYSTEM_BUCKET } from '../../src/stores/index.ts';
import { describeRunLogs } from '../../src/testing/run-logs.suite.ts';
import { openS3Store } from './s3-fixture.ts';

describeRunLogs('objects on an S3 server', async () => {
  const objects = await openS3Store();
  await objects.createBucket(SYSTEM_BUCKET, {});
  const logs = createObjectRunLogs({ objects, clock: systemClock, maxBytes: 4096 });
  return { logs, maxBytes: 4096, close: async () => objects.close() };
});
