export { exitCodes, type ExitCode } from './exit-codes.ts';
export { parseFdl, type Fdl, type FdlService, type ReadScript, type ServiceDocument } from './fdl/parse.ts';
export { FdlError, type FdlProblem } from './fdl/problem.ts';
export { createIo, type Io } from './io.ts';
export { Interrupted, runCli } from './run-cli.ts';
