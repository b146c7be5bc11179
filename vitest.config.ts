import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take minutes. Nothing else tells so on a fresh checkout, and one that begins last keeps all others waiting. */
const long =
  /distributed-(?:kill|faults|suites|inside)|compose|chart|kube-(?:executor|runners)|clean-up-killed|recipes/;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification): boolean =>
      moduleId.endsWith('.real.test.ts') && long.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

const shared = {
  pool: 'forks' as const,
  testTimeout: 20_000,
  hookTimeout: 30_000,
  dangerouslyIgnoreUnhandledErrors: false,
};

/** Tiers by file name: unit beside the source, int against real servers or the disk, e2e from outside, real on the test bed. */
export default defineConfig({
  test: {
    // Most tests wait for processes and disks: one worker more than there are cores keeps both busy.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['{libs,services,apps,tools,examples}/**/src/**/*.test.ts'],
        },
      },
      {
        test: { ...shared, name: 'int', include: ['{libs,services,apps}/*/test/integration/*.int.test.ts'] },
      },
      {
        test: {
          ...shared,
          name: 'e2e',
          include: ['e2e/*.e2e.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          ...shared,
          name: 'real',
          include: ['e2e/*.real.test.ts', '{libs,services,apps}/*/test/real/*.real.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
