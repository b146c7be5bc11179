/** One run that a `/job` body asks for. */
export interface JobEvent {
  /** The bytes that become the run's event. */
  readonly body: Uint8Array;
  /** Who caused it, as the store's event says (OSCAR §4.2). */
  readonly user?: string;
  /** How many services the data has been through (metadata that outputs carry). */
  readonly hop: number;
}

/** An S3 server puts far fewer records into one event. */
export const maxRecords = 1000;

/** Past this a chain of services is taken for a loop. */
export const maxHops = 16;

/**
 * Splits a `/job` body: a storage event with several records is one run a record, since a run is about one object
 * (OSCAR §10.21 keeps only the first); everything else is one run of the bytes as they came.
 * @returns undefined where there are more than `maxRecords` records
 */
export function jobEvents(body: Uint8Array): JobEvent[] | undefined {
  const records = readRecords(body);
  const [first] = records?.list ?? [];
  if (records === undefined || first === undefined) return [{ body, hop: 0 }];
  if (records.list.length === 1) return [eventOf(body, first)];
  if (records.list.length > maxRecords) return undefined;
  return records.list.map((record) =>
    eventOf(Buffer.from(JSON.stringify({ ...records.event, Records: [record] })), record),
  );
}

const recordsKey = Buffer.from('"Records"');

function readRecords(body: Uint8Array): { event: object; list: readonly unknown[] } | undefined {
  // Most bodies are no storage events; they are not worth parsing.
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (!looksLikeObject(bytes) || !bytes.includes(recordsKey)) return undefined;
  let event: unknown;
  try {
    event = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof event !== 'object' || event === null || !('Records' in event) || !Array.isArray(event.Records))
    return undefined;
  return { event, list: event.Records };
}

function looksLikeObject(bytes: Buffer): boolean {
  for (const byte of bytes) {
    if (byte === 0x7b) return true;
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return false;
  }
  return false;
}

/** OSCAR §4.2: the user is `principalId` where `sourceIPAddress` stands beside it. */
function eventOf(body: Uint8Array, record: unknown): JobEvent {
  const hop = hopOf(record);
  const parameters = property(record, 'requestParameters');
  const principal = property(parameters, 'principalId');
  const address = property(parameters, 'sourceIPAddress');
  if (typeof principal !== 'string' || principal === '' || typeof address !== 'string') return { body, hop };
  return { body, hop, user: principal.slice(0, 256) };
}

/** `x-amz-meta-sluice-hop`, in whatever case the store writes it; 0 where there is none. */
function hopOf(record: unknown): number {
  const metadata = property(property(property(record, 's3'), 'object'), 'userMetadata');
  if (typeof metadata !== 'object' || metadata === null) return 0;
  const entries = Object.entries(metadata) as [string, unknown][];
  const found = entries.find(([name]) => name.toLowerCase() === 'x-amz-meta-sluice-hop')?.[1];
  return typeof found === 'string' && /^\d{1,4}$/.test(found) ? Number(found) : 0;
}

function property(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}

/** Ids that clients give (OSCAR §4.3, `X-Delegated-Job-ID`): what Kubernetes takes as a label. */
const idForm = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

export function isRunId(id: string): boolean {
  return idForm.test(id);
}
