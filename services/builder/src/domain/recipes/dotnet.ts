import type { Recipe } from './recipe.ts';

/**
 * The kind is known so that its images can be named anew; a requirements file is refused at once. `project.json` is a format that no SDK
 * has read since the first ones, and the images of this kind have no SDK that could restore packages.
 */
export const dotnet: Recipe = {
  kind: 'dotnet',
  version: 1,
  fileName: 'project.json',
  check: () =>
    'project.json is a format that no .NET SDK reads any more, and .NET images have no SDK to restore packages with: ' +
    'run "dotnet publish" on your side and ship the assemblies with the program; send no file to give the base image another name.',
  cacheVariables: {},
  cacheSharing: 'shared',
  usesToolImage: false,
  install: undefined,
};
