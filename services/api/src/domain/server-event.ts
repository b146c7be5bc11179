/** One message of a stream of server-sent events (HTML standard, "Server-sent events"). */
export interface ServerEvent {
  /** @default `message` */
  readonly event?: string;
  /** What the client sends back as `Last-Event-ID` when it comes again. */
  readonly id?: string;
  /** Any text; absent: the client notes the id and nothing else happens. */
  readonly data?: string;
  /** Milliseconds that the client waits before it comes again. */
  readonly retry?: number;
  /** Read by nobody: keeps the connection alive. */
  readonly comment?: string;
}

/** The bytes of a message. A carriage return ends a line, too, so that one in the data begins the next line. */
export function encodeServerEvent(event: ServerEvent): string {
  const lines: string[] = [];
  if (event.comment !== undefined) lines.push(`: ${event.comment}`);
  if (event.retry !== undefined) lines.push(`retry: ${event.retry}`);
  if (event.event !== undefined) lines.push(`event: ${event.event}`);
  if (event.id !== undefined) lines.push(`id: ${event.id}`);
  if (event.data !== undefined) {
    for (const line of event.data.split(/\r\n|\r|\n/)) lines.push(`data: ${line}`);
  }
  return `${lines.join('\n')}\n\n`;
}
