import net from 'node:net';

export interface RawAnswer {
  /** 0 for a connection that was closed without an answer. */
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

const answerMs = 15_000;
/** Longer answers are cut: enough to see what they say. */
const maxBytes = 262_144;
const maxHeadBytes = 16_384;

/**
 * Sends bytes as they are: `fetch` would mend most of what is wrong with them. An answer that does not end by itself (server-sent
 * events) is left after its head.
 * @param half the client says that nothing more comes
 */
export async function sendRaw(url: string, bytes: Buffer, half = false): Promise<RawAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  let size = 0;
  let seen = false;
  const socket = net.connect({ port: Number(new URL(url).port), host: '127.0.0.1', noDelay: true });
  socket.on('connect', () => (half ? socket.end(bytes) : socket.write(bytes)));
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    size += chunk.byteLength;
    const isStream =
      !seen && /^content-type: text\/event-stream/im.test(Buffer.concat(chunks).toString('latin1'));
    seen ||= size > maxHeadBytes;
    if (isStream || size > maxBytes) socket.destroy();
  });
  socket.on('close', () => {
    resolve(Buffer.concat(chunks).toString('latin1'));
  });
  socket.setTimeout(answerMs, () => {
    reject(new Error(`nothing moved for ${answerMs} ms after ${bytes.toString('latin1', 0, 200)}`));
    socket.destroy();
  });
  return parse(await promise);
}

/** The last of the answers: `100 Continue` comes before it. */
function parse(text: string): RawAnswer {
  const rest = text.replace(/^HTTP\/1\.1 100 [^\r]*\r\n\r\n/, '');
  const end = rest.indexOf('\r\n\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(rest)?.[1] ?? 0);
  return {
    status,
    head: end < 0 ? rest : rest.slice(0, end),
    body: end < 0 ? '' : rest.slice(end + 4),
  };
}

/** Runs jobs, so many at a time. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  act: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await act(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}
