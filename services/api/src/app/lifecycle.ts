import { restartedAnnotation, stoppedAnnotation } from '@sluice/shared/contracts';
import { AppError, isAppError } from '@sluice/shared/errors';
import type { Clock } from '@sluice/shared/lifecycle';
import type { DefinitionStore, StoredDefinition } from '@sluice/shared/stores';
import type { Logger } from '@sluice/shared/telemetry';
import { isStopped } from '../domain/deployment.ts';
import { nanoTime } from '../domain/go-time.ts';
import type { Directory } from './directory.ts';

/** What is done to the runtime of a service (OSCAR §1.6). It concerns calls only: jobs and files go on. */
export type LifecycleAction = 'stop' | 'start' | 'restart';

export interface LifecycleContext {
  readonly definitions: Pick<DefinitionStore, 'get' | 'secrets' | 'update'>;
  readonly directory: Pick<Directory, 'remember'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Logger;
}

/** Each try loses only to a writer that won. */
const tries = 8;

/**
 * Stops, starts or restarts a service: a new version of its definition with the annotation that says so. Stopping what is stopped
 * and starting what runs changes nothing.
 * @returns the service as it is then; undefined where there is none
 * @throws AppError `conflict` where others kept changing it meanwhile; `unavailable`
 */
export async function changeLifecycle(
  name: string,
  action: LifecycleAction,
  context: LifecycleContext,
): Promise<StoredDefinition | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const current = await context.definitions.get(name);
    if (current === undefined) return undefined;
    if (action !== 'restart' && isStopped(current) === (action === 'stop')) return current;
    try {
      const stored = await annotate(current, annotationOf(action, context.clock.now()), context);
      context.log.info(
        { service: name, version: stored.version, action },
        'service stopped, started or restarted',
      );
      return stored;
    } catch (error) {
      if (!isAppError(error, 'conflict') && !isAppError(error, 'not_found')) throw error;
      if (attempt < tries) continue;
      throw new AppError('conflict', `Cannot ${action} the service: somebody else keeps changing it`, {
        cause: error,
      });
    }
  }
}

function annotationOf(action: LifecycleAction, now: number): Record<string, string> {
  if (action === 'restart') return { [restartedAnnotation]: nanoTime(now) };
  return { [stoppedAnnotation]: String(action === 'stop') };
}

async function annotate(
  current: StoredDefinition,
  annotation: Readonly<Record<string, string>>,
  { definitions, directory }: LifecycleContext,
): Promise<StoredDefinition> {
  const secrets = await definitions.secrets(current.uid, current.version);
  if (secrets === undefined) throw new AppError('conflict', 'The version is gone already.');
  const { definition } = current;
  const stored = await definitions.update(
    { uid: current.uid, version: current.version },
    {
      definition: { ...definition, annotations: { ...definition.annotations, ...annotation } },
      secrets,
      floors: [],
    },
  );
  directory.remember(stored, secrets.token);
  return stored;
}

/**
 * The annotations of an updated definition: what a stop and a restart left stays unless the client says otherwise, so that sending
 * a definition again does not start what was stopped.
 */
export function keptAnnotations(
  before: Readonly<Record<string, string>>,
  next: Readonly<Record<string, string>>,
): Record<string, string> {
  const kept = [stoppedAnnotation, restartedAnnotation].flatMap((key) => {
    const value = before[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  return { ...Object.fromEntries(kept), ...next };
}
