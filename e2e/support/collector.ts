import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  /** Nanoseconds. */
  readonly start: bigint;
  readonly end: bigint;
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, unknown>>;
}

export interface Collector {
  readonly url: string;
  spans(): readonly CollectedSpan[];
  /** Everything that came, as it came. */
  bodies(): readonly string[];
  /** Headers of the last request. */
  headers(): Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

interface Value {
  readonly stringValue?: string;
  readonly intValue?: number | string;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
}

interface WireSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status?: { readonly code?: number };
  readonly attributes?: readonly { readonly key: string; readonly value: Value }[];
}

interface WireRequest {
  readonly resourceSpans?: readonly {
    readonly scopeSpans?: readonly { readonly spans?: readonly WireSpan[] }[];
  }[];
}

/** A collector that takes OTLP over HTTP as JSON and keeps what it gets; with `discard` it only counts as there. */
export async function startCollector(options: { readonly discard?: boolean } = {}): Promise<Collector> {
  const bodies: string[] = [];
  let headers: Readonly<Record<string, unknown>> = {};
  const server = createServer((request, response) => {
    const answer = (status: number): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
    };
    if (options.discard === true) {
      request.resume().on('end', () => {
        answer(200);
      });
      return;
    }
    text(request).then(
      (body) => {
        headers = request.headers;
        const known = request.method === 'POST' && request.url === '/v1/traces';
        if (known) bodies.push(body);
        answer(known ? 200 : 404);
      },
      () => {
        response.destroy();
      },
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: () => bodies.flatMap(spansIn),
    bodies: () => bodies,
    headers: () => headers,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function spansIn(body: string): CollectedSpan[] {
  const request = JSON.parse(body) as WireRequest;
  const scopes = request.resourceSpans?.flatMap((resource) => resource.scopeSpans ?? []) ?? [];
  return scopes
    .flatMap((scope) => scope.spans ?? [])
    .map((span) => ({
      traceId: span.traceId,
      spanId: span.spanId,
      parentSpanId: span.parentSpanId ?? '',
      name: span.name,
      kind: span.kind,
      start: BigInt(span.startTimeUnixNano),
      end: BigInt(span.endTimeUnixNano),
      failed: span.status?.code === 2,
      attributes: Object.fromEntries(
        (span.attributes ?? []).map(({ key, value }) => [key, Object.values(value)[0] as unknown]),
      ),
    }));
}
