import { describeRunnerHost } from '../runner-host.suite.ts';
import { openSharedRunners } from '../shared-runners.ts';

// The host that the tests of several pools use is one.
describeRunnerHost('processes that several replicas share', async () => {
  const shared = await openSharedRunners();
  return { host: shared.view(), key: shared.key, close: shared.close };
});
