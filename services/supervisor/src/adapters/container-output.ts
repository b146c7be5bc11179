import type { Readable } from 'node:stream';
import type { Clock } from '@sluice/shared/lifecycle';

/** What a container prints, on its way to whoever wants it. */
export interface ContainerOutput {
  /** Resolves when the container printed all it will; false when the connection broke before. Never rejects. */
  readonly ended: Promise<boolean>;
  /** Reads no more. */
  close(): void;
}

/** How long what an ended script printed last may take to arrive. */
const drainMs = 30_000;
const headerBytes = 8;

/**
 * Takes an engine's stream apart (frames of eight bytes of header, the last four their payload's size) and gives the payloads on, one at a time: while
 * `onOutput` is not done nothing is read, the engine's buffer fills, and what prints has to wait.
 */
export function readContainerOutput(
  stream: Readable,
  onOutput: (chunk: Uint8Array) => Promise<void>,
): ContainerOutput {
  const read = async (): Promise<boolean> => {
    const header = Buffer.alloc(headerBytes);
    let have = 0;
    let left = 0;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        for (let at = 0; at < chunk.length;) {
          if (left === 0) {
            const copied = chunk.copy(header, have, at, at + headerBytes - have);
            have += copied;
            at += copied;
            if (have === headerBytes) left = header.readUInt32BE(4);
            if (have === headerBytes) have = 0;
          } else {
            const part = chunk.subarray(at, at + left);
            at += part.length;
            left -= part.length;
            await onOutput(part);
          }
        }
      }
      return left === 0 && have === 0;
    } catch {
      // The stream's failure is told by `false`; what became of the container is told by the engine.
      return false;
    }
  };
  return { ended: read(), close: () => stream.destroy() };
}

/** Waits for the last of it; false when it did not come, or not in time. */
export async function drained(clock: Clock, output: ContainerOutput, forMs = drainMs): Promise<boolean> {
  const waited = new AbortController();
  const tooLong = clock.sleep(forMs, waited.signal).then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([output.ended, tooLong]);
  } finally {
    waited.abort();
  }
}
