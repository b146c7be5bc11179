import type { BuildKind } from '@sluice/shared/contracts';
import { dotnet } from './dotnet.ts';
import { go } from './go.ts';
import { java } from './java.ts';
import { nodejs } from './nodejs.ts';
import { php } from './php.ts';
import { python } from './python.ts';
import type { Recipe } from './recipe.ts';
import { ruby } from './ruby.ts';

export type { Recipe } from './recipe.ts';

/** A recipe for every kind. */
export const recipes: Readonly<Record<BuildKind, Recipe>> = { python, nodejs, go, java, php, ruby, dotnet };
