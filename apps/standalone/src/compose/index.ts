export { composeExecution, type ExecutionDeps, type ExecutionParts } from './execution.ts';
export { openDataFolder, keepSecret } from '../data-folder.ts';
export { executionVariables } from '../config.ts';
export { composeBuilder, composeBuilds, type BuildsParts } from './builds.ts';
export { openAccounts } from './standalone-builds.ts';
