export { createBuildctl, type Buildctl, type BuildctlLimits, type BuildctlOptions } from './buildctl.ts';
export { createImageRegistry, type ImageRegistryDeps } from './registry-images.ts';
