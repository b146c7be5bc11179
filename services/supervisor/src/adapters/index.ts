export {
  createChildProcessScripts,
  type ChildProcessScripts,
  type ChildProcessScriptsOptions,
} from './child-process-script.ts';
export { killLeftovers, removeLeftWork, type LeftoverDeps, type Leftovers } from './leftovers.ts';
export { createContainerScripts } from './container-scripts.ts';
export { openContainerHost, type ContainerHost, type ContainerHostOptions } from './container-host.ts';
export { parseEngineAddress, type EngineAddress } from './engine-address.ts';
export { openWarmContainer, type WarmContainer, type WarmOptions } from './warm-container.ts';
export { openPodScripts, type PodScripts, type PodScriptsOptions } from './pod-scripts.ts';
