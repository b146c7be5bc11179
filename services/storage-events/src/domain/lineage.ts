/** Names of the object metadata in which an output says where it comes from. */
const hopMetadata = 'sluice-hop';
const traceMetadata = 'traceparent';
const runMetadata = 'sluice-run';

/** Services that data may go through one after another before a loop is assumed. */
export const maxHops = 16;

/** Where an object comes from. */
export interface Lineage {
  /** How many services the data has been through. */
  readonly hop: number;
  readonly traceparent: string | undefined;
  /** The run that wrote the object. */
  readonly run: string | undefined;
}

/** Reads an object's lineage; a hop count that is not a number is none, as users may set any metadata. */
export function lineageOf(metadata: Readonly<Record<string, string>>): Lineage {
  const hop = metadata[hopMetadata] ?? '';
  return {
    hop: /^\d+$/.test(hop) ? Math.min(Number(hop), Number.MAX_SAFE_INTEGER) : 0,
    traceparent: metadata[traceMetadata],
    run: metadata[runMetadata],
  };
}
