import type { BuildKind } from '@sluice/shared/contracts';

/**
 * How one kind's requirements file becomes a layer. All of it is data: a user's file is never part of a shell text, it is only read by the
 * kind's own tool.
 *
 * The shell text is POSIX `sh` and runs as root with `set -eu` in a folder of its own, with these at hand (see `installScript`):
 * - `$requirements`: the file, read only; `$work`: the folder, in /tmp, gone afterwards; `$cache`: kept between builds of the same user, never in the image
 * - `$owner`: the base image's USER, empty where that is root; `$tools`: the root of the tool image, empty without one
 * - `say`, `fail` and `own_folder` (makes a folder that belongs to `$owner`)
 */
export interface Recipe {
  readonly kind: BuildKind;
  /** Part of the content key: one more whenever the same file gives another image. */
  readonly version: number;
  /** Name of the requirements file, also where a base's own `/bin/extend` looks for it below /tmp. */
  readonly fileName: string;
  /** @returns why a file can't be right, for its author; undefined where it is worth a try */
  readonly check: (text: string) => string | undefined;
  /** Undefined: no file of this kind is ever accepted (`check` says why). */
  readonly install: string | undefined;
  /** Variables that tell the kind's tools to keep their caches in a folder of `$cache`. They are set for `/bin/extend` as well. */
  readonly cacheVariables: Readonly<Record<string, string>>;
  /** `locked` where the tool can't share its cache with another that runs at the same time. */
  readonly cacheSharing: 'shared' | 'locked';
  /** Whether another image can bring the tool that base images of this kind lack. */
  readonly usesToolImage: boolean;
}

/**
 * Reads a file that must be a JSON object.
 * @returns the object, or what is wrong with it
 */
export function jsonObject(name: string, text: string): Readonly<Record<string, unknown>> | string {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    const why = error instanceof Error ? error.message : 'it cannot be read';
    return `${name} is not JSON: ${why}.`;
  }
  if (isObject(value)) return value;
  return `${name} has to be a JSON object ({ … }).`;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a message shows of a user's line. */
export function shown(line: string): string {
  const limit = 80;
  return JSON.stringify(line.length > limit ? `${line.slice(0, limit)}…` : line);
}
