import { createRegistryLogins } from '@sluice/shared/adapters';
import { AppError, isAppError, messageOf } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { Logger } from '@sluice/shared/telemetry';
import { AttemptStop } from '../domain/attempt-stop.ts';
import type { ContainerNeeds } from '../domain/container-needs.ts';
import {
  createContainerEngine,
  type ContainerEngine,
  type ContainerSpec,
  type EngineFacts,
  type EngineImage,
} from './container-engine.ts';
import { createImageFinder, type FindImage } from './container-images.ts';
import type { EngineAddress } from './engine-address.ts';

export interface ContainerHostOptions {
  readonly address: EngineAddress;
  /** Marks this installation's containers; the same after a restart. */
  readonly instance: string;
  /** Whose files containers work on: this process's. */
  readonly user: { readonly uid: number; readonly gid: number };
  /** Folder of the Docker config file with the logins for registries. */
  readonly loginsDir: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds between SIGTERM and SIGKILL when a script is ended. @default 5000 */
  readonly graceMs?: number;
}

/** An engine that answers, and what all containers of this installation on it share. */
export interface ContainerHost {
  readonly engine: ContainerEngine;
  readonly facts: EngineFacts;
  readonly instance: string;
  readonly user: { readonly uid: number; readonly gid: number };
  readonly clock: Clock;
  readonly log: Logger;
  readonly graceMs: number;
  readonly findImage: FindImage;
  /**
   * Makes a container of an image that has a shell.
   * @throws AttemptStop `container_refused`, `image_unusable`, `image_pull_failed`
   * @throws AppError `unavailable`
   */
  create(needs: ContainerNeeds, image: EngineImage, spec: ContainerSpec): Promise<string>;
  /** Ends and removes a container; while the engine is away it is tried again in the background. Never rejects. */
  discard(id: string): Promise<void>;
  /** Removes the containers that a killed server left. Before anything is started. */
  removeLeftovers(): Promise<number>;
  /** Stops trying; what could not be removed is found at the next start. */
  close(): Promise<void>;
}

const discardEveryMs = 2000;
/** Images of which it is known that they have a shell; past this many they are looked at again. */
const maxKnownImages = 1000;

/** @throws AppError `unavailable` with a sentence that says what to mend, when no engine answers */
export async function openContainerHost(options: ContainerHostOptions): Promise<ContainerHost> {
  const { address, instance, user, clock, log } = options;
  const engine = await createContainerEngine(address);
  const facts = await factsOf(engine);
  const withShell = new Set<string>();
  const discarder = createDiscarder(engine, clock, log);
  return {
    engine,
    facts,
    instance,
    user,
    clock,
    log,
    graceMs: options.graceMs ?? 5000,
    findImage: createImageFinder(engine, createRegistryLogins(options.loginsDir)),
    create: async (needs, image, spec) => {
      const id = await createContainer(engine, needs, spec);
      if (withShell.has(image.id)) return id;
      try {
        if (!(await engine.hasPath(id, '/bin/sh'))) {
          const message = `the image ${needs.image} has no /bin/sh, which runs the script: use an image with a shell`;
          throw new AttemptStop('image_unusable', message);
        }
      } catch (error) {
        await discarder.discard(id);
        throw error;
      }
      if (withShell.size >= maxKnownImages) withShell.clear();
      withShell.add(image.id);
      return id;
    },
    discard: discarder.discard,
    removeLeftovers: async () => {
      const left = await engine.list(`sluice.instance=${instance}`);
      // One at a time: a hundred removals at once keep an engine from answering.
      for (const id of left) await engine.remove(id);
      return left.length;
    },
    close: discarder.close,
  };
}

async function factsOf(engine: ContainerEngine): Promise<EngineFacts> {
  try {
    return await engine.facts();
  } catch (error) {
    throw new AppError(
      'unavailable',
      `DOCKER_HOST: ${messageOf(error)}. Start the engine, correct the address, or unset DOCKER_HOST: scripts then run as processes of this machine.`,
      { cause: error },
    );
  }
}

async function createContainer(
  engine: ContainerEngine,
  needs: ContainerNeeds,
  spec: ContainerSpec,
): Promise<string> {
  try {
    return await engine.create(spec);
  } catch (error) {
    if (isAppError(error, 'not_found')) {
      const message = `the image ${needs.image} was removed before its container was made`;
      throw new AttemptStop('image_pull_failed', message, { retryable: true, cause: error });
    }
    if (isAppError(error, 'invalid_input')) {
      const away = /bind source path|no such file/.test(error.message)
        ? ' (the engine has to run on this machine, and to see the data folder at the same path)'
        : '';
      throw new AttemptStop('container_refused', `${error.message}${away}`, { cause: error });
    }
    throw error;
  }
}

/** Removes containers, now or as soon as the engine is back. */
function createDiscarder(
  engine: ContainerEngine,
  clock: Clock,
  log: Logger,
): { discard(id: string): Promise<void>; close(): Promise<void> } {
  const waiting = new Set<string>();
  const closed = new AbortController();
  let loop: Promise<void> | undefined;
  const removed = async (id: string): Promise<boolean> => {
    try {
      await engine.remove(id);
      return true;
    } catch (error) {
      log.warn({ err: error, container: id }, 'a container could not be removed');
      return false;
    }
  };
  const retry = async (): Promise<void> => {
    while (waiting.size > 0 && !closed.signal.aborted) {
      await clock.sleep(discardEveryMs, closed.signal).catch(() => undefined);
      for (const id of closed.signal.aborted ? [] : waiting) {
        // The others wait for the same engine.
        if (!(await removed(id))) break;
        waiting.delete(id);
      }
    }
    loop = undefined;
  };
  return {
    discard: async (id) => {
      if (await removed(id)) return;
      waiting.add(id);
      loop ??= retry();
    },
    close: async () => {
      closed.abort();
      await loop;
    },
  };
}
