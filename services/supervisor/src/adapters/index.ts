export {
  createChildProcessScripts,
  type ChildProcessScripts,
  type ChildProcessScriptsOptions,
} from './child-process-script.ts';
export { killLeftovers, removeLeftWork, type LeftoverDeps, type Leftovers } from './leftovers.ts';
