import { backfillRunId, objectRunId, type ObjectRef, type RunSource } from '@sluice/shared/contracts';
import type { NewRun, ObjectHead, ObjectInfo } from '@sluice/shared/stores';
import { objectEvent } from './object-event.ts';

/** What of a definition goes into a run and its event. */
export interface RunService {
  readonly name: string;
  readonly uid: string;
  /** Region that events name. */
  readonly region: string;
}

export interface RunContext {
  readonly source: RunSource;
  readonly hop: number;
  readonly traceparent: string;
  /** Epoch milliseconds; when the object changed, where the source did not say. */
  readonly eventTime?: number | undefined;
  readonly user?: string | undefined;
  /** Gives an object that has had its run another one: the backfill that asks for it. */
  readonly again?: string | undefined;
}

/** The id of the run that an object gets from a service; another one for each backfill that runs it `again`. */
export function runIdFor(service: RunService, object: ObjectInfo, again?: string): string {
  const id = objectRunId(service.name, service.uid, object);
  return again === undefined ? id : backfillRunId(service.name, id, again);
}

/** The run of one object by one service. */
export function buildRun(service: RunService, object: ObjectHead, context: RunContext): NewRun {
  const event = objectEvent(object, {
    eventTime: context.eventTime ?? object.changedAt,
    user: context.user,
    region: service.region,
  });
  return {
    id: runIdFor(service, object, context.again),
    service: service.name,
    service_uid: service.uid,
    source: context.source,
    input: inputOf(object),
    event: { kind: 'inline', encoding: 'utf8', data: event },
    ...(context.user === undefined ? {} : { user: context.user }),
    traceparent: context.traceparent,
    hop: context.hop,
  };
}

function inputOf(object: ObjectInfo): ObjectRef {
  return {
    bucket: object.bucket,
    key: object.key,
    size: object.size,
    etag: object.etag,
    identity: object.identity,
    ...(object.versionId === undefined ? {} : { version_id: object.versionId }),
    last_modified: object.lastModified,
  };
}
