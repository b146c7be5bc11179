import type { Bus } from '@sluice/shared/bus';
import { AppError } from '@sluice/shared/errors';
import type { DefinitionStore } from '@sluice/shared/stores';
import { ownPaths } from '../domain/storage-path.ts';
import type { Random } from '../ports.ts';

export interface BackfillRequest {
  /** `bucket/folder`; all input folders where empty. */
  readonly prefix: string;
  readonly again: boolean;
  readonly traceparent?: string | undefined;
}

/**
 * Asks for the runs of what lies in a service's input folders already.
 * @returns the id of the backfill
 * @throws AppError `not_found`, `invalid_input` for a prefix outside the inputs
 */
export async function startBackfill(
  service: string,
  request: BackfillRequest,
  context: {
    readonly definitions: Pick<DefinitionStore, 'get'>;
    readonly bus: Pick<Bus, 'publish'>;
    readonly random: Pick<Random, 'uuid'>;
  },
): Promise<string> {
  const stored = await context.definitions.get(service);
  if (stored === undefined) throw new AppError('not_found', `There is no service "${service}".`);
  const inputs = ownPaths(stored.definition.input).map(({ bucket, prefix }) => `${bucket}/${prefix}`);
  if (inputs.length === 0) {
    throw new AppError('invalid_input', `The service "${service}" has no input folder.`, {
      field: 'service',
    });
  }
  const prefix = request.prefix.replace(/^\/+/, '');
  // `bucket/in` names the folder as well as `bucket/in/` does.
  const inside = prefix === '' || inputs.some((input) => prefix.startsWith(input) || `${prefix}/` === input);
  if (!inside) {
    throw new AppError(
      'invalid_input',
      `The prefix lies in no input folder of "${service}": ${inputs.join(', ')}.`,
      {
        field: 'prefix',
      },
    );
  }
  const id = context.random.uuid();
  await context.bus.publish([
    {
      id: `backfill.${id}`,
      name: 'backfills.start',
      key: service,
      payload: { backfill_id: id, service, service_uid: stored.uid, prefix, again: request.again },
      ...(request.traceparent === undefined ? {} : { traceparent: request.traceparent }),
    },
  ]);
  return id;
}
