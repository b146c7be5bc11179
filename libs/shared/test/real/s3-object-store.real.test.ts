import { describeObjectStore } from '../../src/testing/object-store.suite.ts';
import { openS3Store } from './s3-fixture.ts';

describeObjectStore('S3', async () => {
  const store = await openS3Store();
  return { store, close: async () => store.close() };
});
