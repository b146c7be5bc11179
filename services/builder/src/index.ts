export * from './build-desk.ts';
export * from './builder.ts';
export * from './config.ts';
export type * from './clean-up-ports.ts';
export type * from './ports.ts';
export { createCollector, type CollectionResult, type Collector, type CollectorDeps } from './app/collect.ts';
export { builderLooks, type BuilderLooksDeps } from './app/looks.ts';
export { gaugeImageBytes } from './app/metrics.ts';
export { createPruner, type Pruner, type PrunerDeps } from './app/prune.ts';
export {
  cleanUpVariables,
  collectionLimitsOf,
  commandEnvironment,
  registryCommandsOf,
  retentionPolicyOf,
  type CleanUpConfig,
} from './config-clean-up.ts';
