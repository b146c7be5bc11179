export { createBuildctl, type Buildctl, type BuildctlLimits, type BuildctlOptions } from './buildctl.ts';
export { createImageRegistry, type ImageRegistryDeps } from './registry-images.ts';
export { createBullBuildQueue, type BullBuildQueueOptions } from './bull-build-queue.ts';
export { createBullBuildWorkers, type BullBuildWorkersOptions } from './bull-build-workers.ts';
export { createRedisBuildStore, type RedisBuildStoreOptions } from './redis-build-store.ts';
