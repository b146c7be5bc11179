/** What the process ends with. Documented in docs/cli.md and `sluice --help`: scripts depend on these numbers. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unauthenticated: 4,
  unreachable: 5,
  runFailed: 6,
  timedOut: 7,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** One line for each, as `--help` shows them. */
export const exitCodeMeanings: readonly (readonly [ExitCode, string])[] = [
  [exitCodes.ok, 'done'],
  [exitCodes.failed, 'the server said no, or something unexpected happened'],
  [exitCodes.usage, 'wrong command line, or a wrong input file'],
  [exitCodes.notFound, 'what was named does not exist'],
  [exitCodes.unauthenticated, 'user name or password missing, wrong, or not allowed to do this'],
  [exitCodes.unreachable, 'no server answers'],
  [exitCodes.runFailed, 'the run or build that was waited for failed or was cancelled'],
  [exitCodes.timedOut, 'gave up waiting'],
  [exitCodes.interrupted, 'interrupted (Ctrl-C); 143 after SIGTERM'],
];
