export type * from './clean-up-ports.ts';
export type * from './ports.ts';
export { createCollector, type CollectionResult, type Collector, type CollectorDeps } from './app/collect.ts';
export { createPruner, type Pruner, type PrunerDeps } from './app/prune.ts';
export {
  cleanUpVariables,
  collectionLimitsOf,
  commandEnvironment,
  registryCommandsOf,
  retentionPolicyOf,
  type CleanUpConfig,
} from './config-clean-up.ts';
export { dockerfileFor, type BuildContext, type ImageMaking } from './domain/dockerfile.ts';
export { recipes, type Recipe } from './domain/recipes/index.ts';
