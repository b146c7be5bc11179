import { openProcessRunners } from '../local-runners.ts';
import { describeRunnerHost } from '../runner-host.suite.ts';

describeRunnerHost('processes', () => openProcessRunners());
