import { AppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { RegistryKeeper } from '../clean-up-ports.ts';
import { collectedOf, freedBytes, usedBytesOf } from '../domain/registry-output.ts';
import { runGuarded, type Command } from './guarded-command.ts';

export interface CommandRegistryKeeperOptions {
  /** Makes the registry read-only and restarts it. */
  readonly readOnly: Command;
  /** Makes it writable and restarts it. */
  readonly writable: Command;
  /** `registry garbage-collect --delete-untagged <configuration>` where the registry's storage is. */
  readonly collect: Command;
  /** Prints the KiB that the storage takes, as `du -sk` does; undefined: nobody measures. */
  readonly usage: Command | undefined;
  /** What the commands see of the environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

/** A registry that an administrator's commands take care of, whatever runs it. */
export function createCommandRegistryKeeper(options: CommandRegistryKeeperOptions): RegistryKeeper {
  const run = async (
    command: Command,
    purpose: string,
    signal: AbortSignal,
    onLine?: (line: string) => void,
  ): Promise<void> => {
    const { env, clock } = options;
    await runGuarded(command, { env, clock, purpose, ...(onLine === undefined ? {} : { onLine }) }, signal);
  };
  return {
    readOnly: async (signal) => run(options.readOnly, 'make the registry read-only', signal),
    writable: async (signal) => run(options.writable, 'make the registry writable', signal),
    collect: async (signal) => {
      const before = await usage(options.usage, run, signal);
      let counted: { readonly blobs: number; readonly manifests: number } | undefined;
      await run(options.collect, 'collect the registry', signal, (line) => {
        counted = collectedOf(line) ?? counted;
      });
      // What is collected is collected, whether it can be measured or not.
      const after = await usage(options.usage, run, signal).catch(() => undefined);
      return {
        blobs: counted?.blobs,
        manifests: counted?.manifests,
        freedBytes: freedBytes(before, after),
      };
    },
  };
}

async function usage(
  command: Command | undefined,
  run: (
    command: Command,
    purpose: string,
    signal: AbortSignal,
    onLine: (line: string) => void,
  ) => Promise<void>,
  signal: AbortSignal,
): Promise<number | undefined> {
  if (command === undefined) return undefined;
  let first: string | undefined;
  await run(command, "measure the registry's storage", signal, (line) => {
    first ??= line;
  });
  const bytes = usedBytesOf(first ?? '');
  if (bytes === undefined) {
    throw new AppError(
      'unavailable',
      'SLUICE_REGISTRY_USAGE_COMMAND prints no number of KiB on its first line, as "du -sk" does.',
    );
  }
  return bytes;
}
