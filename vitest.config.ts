import { defineConfig } from 'vitest/config';

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
