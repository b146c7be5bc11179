import type { DefinitionStore, StoredDefinition } from '@sluice/shared/stores';
import { deploymentOf } from '../domain/deployment.ts';
import { encodeService, serviceOutput, type OwnMinio } from '../domain/service-wire.ts';
import type { KnownRunners } from './calls/known-runners.ts';

export interface ReadContext {
  readonly definitions: Pick<DefinitionStore, 'get' | 'list' | 'secrets'>;
  readonly minio: OwnMinio;
  readonly runners: Pick<KnownRunners, 'runnersOf'>;
}

export interface ReadOptions {
  /** `?include=deployment` (OSCAR §1.4). */
  readonly deployment: boolean;
}

/** A service as OSCAR §12.1 writes it; undefined where there is none. */
export async function readService(
  name: string,
  options: ReadOptions,
  context: ReadContext,
): Promise<string | undefined> {
  const stored = await context.definitions.get(name);
  return stored === undefined ? undefined : encode(stored, options, context);
}

const pageSize = 50;

/**
 * All services as pieces of one JSON array, by name: the list has no pages (OSCAR §1.4), so it is written as it is read and
 * memory stays flat.
 */
export async function* listServices(options: ReadOptions, context: ReadContext): AsyncGenerator<string> {
  let cursor: string | undefined;
  let separator = '[';
  do {
    const page = await context.definitions.list({
      limit: pageSize,
      ...(cursor === undefined ? {} : { cursor }),
    });
    let piece = '';
    for (const stored of page.items) {
      piece += `${separator}${await encode(stored, options, context)}`;
      separator = ',';
    }
    if (piece !== '') yield piece;
    cursor = page.next;
  } while (cursor !== undefined);
  yield separator === '[' ? '[]' : ']';
}

async function encode(stored: StoredDefinition, options: ReadOptions, context: ReadContext): Promise<string> {
  const secrets = await context.definitions.secrets(stored.uid, stored.version);
  const deployment = options.deployment ? deploymentOf(stored, context.runners.runnersOf(stored)) : undefined;
  return encodeService(serviceOutput(stored.definition, secrets, context.minio, deployment));
}
