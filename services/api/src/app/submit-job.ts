import { createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { idempotentRunId, runName, type Payload } from '@sluice/shared/contracts';
import { AppError } from '@sluice/shared/errors';
import { SYSTEM_BUCKET, type NewRun, type ObjectStore, type RunLedger } from '@sluice/shared/stores';
import { noTracer, startAcceptSpan, type Span, type Tracer } from '@sluice/shared/telemetry';
import { isRunId, jobEvents, maxHops, maxRecords } from '../domain/job-event.ts';
import type { Random } from '../ports.ts';

const defaultInlineBytes = 65_536;

export interface JobRequest {
  readonly service: { readonly name: string; readonly uid: string };
  readonly body: Uint8Array;
  /** `X-Delegated-Job-ID` (OSCAR §4.3). */
  readonly delegatedId?: string | undefined;
  /** `Idempotency-Key`, at most 255 characters. */
  readonly idempotencyKey?: string | undefined;
  readonly traceparent?: string | undefined;
}

/**
 * Accepts a `/job` call: when it resolves, the runs are durable.
 * @returns the id of the (first) run
 * @throws AppError `invalid_input`, `conflict` for a delegated id that another service has, `unavailable`
 */
export type SubmitJob = (request: JobRequest) => Promise<string>;

export function createSubmitJob(deps: {
  readonly ledger: Pick<RunLedger, 'claim' | 'get'>;
  readonly objects: Pick<ObjectStore, 'put'>;
  readonly random: Pick<Random, 'uuid'>;
  /** Events up to this size, as they are written in JSON, travel in the run's messages; larger ones go to the system bucket. @default 65536 */
  readonly inlineEventBytes?: number | undefined;
  /** @default none */
  readonly tracer?: Tracer;
}): SubmitJob {
  const { tracer = noTracer } = deps;
  return async (request) => {
    checkIds(request);
    const events = jobEvents(request.body);
    if (events === undefined) {
      throw new AppError('too_large', `The event has more than ${maxRecords} records.`, { field: 'Records' });
    }
    if (events.some(({ hop }) => hop > maxHops)) {
      throw new AppError(
        'unprocessable',
        `The object came through more than ${maxHops} services: this looks like a loop.`,
      );
    }
    const runs: NewRun[] = [];
    const spans = new Map<string, Span>();
    for (const [index, event] of events.entries()) {
      const id = runId(request, index, deps.random.uuid);
      const about = { id, service: request.service.name, source: 'job' } as const;
      const span = startAcceptSpan(tracer, about, request.traceparent);
      spans.set(id, span);
      runs.push({
        id,
        service: request.service.name,
        service_uid: request.service.uid,
        source: 'job',
        event: await payloadOf(event.body, deps),
        ...(event.user === undefined ? {} : { user: event.user }),
        traceparent: span.traceparent,
        hop: event.hop,
      });
    }
    const claims = await deps.ledger.claim(runs);
    for (const { id, created } of claims) if (created) spans.get(id)?.end();
    const [first] = claims;
    if (first === undefined) throw new AppError('unavailable', 'The run could not be stored.');
    if (!first.created && request.delegatedId !== undefined) await checkOwner(first.id, request, deps.ledger);
    return first.id;
  };
}

/** Stands where a run's id stands in `/system/runs/events`. */
const reservedId = 'events';

function checkIds({ delegatedId, idempotencyKey }: JobRequest): void {
  if (delegatedId !== undefined && (!isRunId(delegatedId) || delegatedId === reservedId)) {
    const message = `X-Delegated-Job-ID must be a DNS label of at most 63 characters, and not "${reservedId}".`;
    throw new AppError('invalid_input', message, {
      field: 'X-Delegated-Job-ID',
    });
  }
  if (idempotencyKey !== undefined && (idempotencyKey === '' || idempotencyKey.length > 255)) {
    throw new AppError('invalid_input', 'Idempotency-Key must have 1 to 255 characters.', {
      field: 'Idempotency-Key',
    });
  }
}

/** Records after the first get ids that follow from the first's, so that a repeated call finds them all. */
function runId(
  { service, delegatedId, idempotencyKey }: JobRequest,
  index: number,
  uuid: () => string,
): string {
  if (delegatedId !== undefined) {
    return index === 0
      ? delegatedId
      : idempotentRunId(service.name, service.uid, `delegated:${delegatedId}#${index}`);
  }
  if (idempotencyKey !== undefined) {
    return idempotentRunId(
      service.name,
      service.uid,
      index === 0 ? idempotencyKey : `${idempotencyKey}#${index}`,
    );
  }
  return runName(service.name, uuid());
}

async function checkOwner(id: string, request: JobRequest, ledger: Pick<RunLedger, 'get'>): Promise<void> {
  const run = await ledger.get(id);
  if (run === undefined || run.service_uid === request.service.uid) return;
  throw new AppError('conflict', `The job id "${id}" is taken by another service.`, {
    field: 'X-Delegated-Job-ID',
  });
}

async function payloadOf(
  body: Uint8Array,
  deps: { readonly objects: Pick<ObjectStore, 'put'>; readonly inlineEventBytes?: number | undefined },
): Promise<Payload> {
  const { objects, inlineEventBytes = defaultInlineBytes } = deps;
  const encoding = body.byteLength <= inlineEventBytes && isUtf8(body) ? 'utf8' : 'base64';
  const size = encoding === 'utf8' ? body.byteLength : Math.ceil(body.byteLength / 3) * 4;
  if (size <= inlineEventBytes) {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    return { kind: 'inline', encoding, data: bytes.toString(encoding) };
  }
  const key = `events/${createHash('sha256').update(body).digest('hex')}`;
  // Put again where it is there already: what cleans up sees that it is in use.
  await objects.put(SYSTEM_BUCKET, key, body, { size: body.byteLength });
  return { kind: 'object', key, size: body.byteLength };
}
